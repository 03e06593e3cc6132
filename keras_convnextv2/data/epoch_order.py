"""Which image comes when, and from what seed it is changed: by (seed, epoch, place) alone."""

import functools

import numpy as np

from keras_convnextv2.data.packages import require


def batch_plans(num_images, batch_size, *, seed, shuffle, labels, drop_remainder):
    """The batches of all epochs, before any image is read.

    Args:
        num_images: int, in an epoch.
        batch_size: int, images of a whole batch.
        seed: int, 0 or more.
        shuffle: bool, another order each epoch.
        labels: int (num_images,) to draw the classes equally often, or None to take each image
            once.
        drop_remainder: bool, leaves out a last, smaller batch.

    Returns:
        `grain.MapDataset` of tuples of (index of an image, seed of its changes). Its length is that
        of an epoch; element `epoch * length + place` is a batch of another epoch.
    """
    grain = require("grain", "recipes", "Batches come in an order", does="draws")
    places = grain.MapDataset.range(num_images).seed(seed)
    if labels is not None:
        order = functools.lru_cache(2)(functools.partial(balanced_order, labels, seed))
        places = places.map_with_index(
            lambda place, _: order(place // num_images)[place % num_images]
        )
    elif shuffle:
        places = places.shuffle()
    # grain's generator is used again for another element: a seed drawn from it is kept instead.
    elements = places.random_map(lambda index, rng: (int(index), int(rng.integers(2**63))))
    return elements.batch(batch_size, drop_remainder=drop_remainder, batch_fn=tuple)


def part_of(batch, shard, fill_to=1):
    """The part of a batch that one of several processes reads.

    The parts of all, one behind the other, are the batch, and differ in length by 1 at most.

    Args:
        batch: tuple.
        shard: (index, count).
        fill_to: int; the last element is repeated until there is a multiple of so many.
    """
    index, count = shard
    batch += batch[-1:] * (-len(batch) % fill_to)
    return batch[len(batch) * index // count : len(batch) * (index + 1) // count]


def balanced_order(labels, seed, epoch):
    """As many indices of images as there are, of each class equally many (one more or less).

    All classes come once, in random order, before any comes again. So do the images of a class: a
    small class is gone through several times in an epoch, and of a large one each epoch shows other
    images.

    Args:
        labels: int (N,).
        seed, epoch: ints, 0 or more.

    Returns:
        int (N,).
    """
    rng = np.random.default_rng([seed, epoch])
    classes, sizes = np.unique(labels, return_counts=True)
    num_rounds = -(-len(labels) // len(classes))
    of_round = rng.permuted(np.tile(np.arange(len(classes)), (num_rounds, 1)), axis=1)
    order = np.empty(of_round.shape, "int64")
    for place, (label, size) in enumerate(zip(classes, sizes, strict=True)):
        members = np.tile(np.flatnonzero(labels == label), (-(-num_rounds // size), 1))
        order[of_round == place] = rng.permuted(members, axis=1).ravel()[:num_rounds]
    return order.ravel()[: len(labels)]
