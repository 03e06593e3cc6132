import time

import numpy as np
import pytest

from keras_convnextv2.data import (
    ImageBatches,
    ImageSourceError,
    RandomShift,
    open_source,
    preprocess,
)

pytestmark = pytest.mark.one_backend


@pytest.fixture
def source(tmp_path, write_npz):
    """11 images of 5x7 with 2 channels."""
    write_npz(tmp_path, "train", count=11)
    return open_source(tmp_path, "train")


def make_batches(source, batch_size=4, **options):
    options = {"labelled": True, **options}
    return ImageBatches(source, (5, 7), batch_size, **options)


def assert_same_epoch(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        for one_array, other_array in zip(one, other, strict=True):
            np.testing.assert_array_equal(one_array, other_array)


def test_batches_hold_normalised_images_and_labels_in_order(source):
    batches = make_batches(source)
    assert (len(batches), batches.num_images) == (3, 11)
    assert [len(images) for images, _ in batches] == [4, 4, 3]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert (images.dtype, labels.dtype) == ("float32", "int32")
    np.testing.assert_array_equal(images, preprocess(source.records, source.mean, source.std))
    np.testing.assert_array_equal(labels, source.labels)


def test_batches_without_labels_hold_images_alone(source):
    batches = make_batches(source, labelled=False)
    (images,) = batches[1]
    np.testing.assert_array_equal(images, make_batches(source)[1][0])


def test_batches_resize_images(source):
    images, _ = ImageBatches(source, [9, 4], 4, labelled=True)[2]
    assert images.shape == (3, 9, 4, 2)


def test_remainder_can_be_dropped(source):
    batches = make_batches(source, drop_remainder=True)
    assert [len(labels) for _, labels in batches] == [4, 4]


def test_shuffled_epoch_holds_every_image_once_with_its_label(source):
    label_of = {
        image.tobytes(): label
        for image, label in zip(
            preprocess(source.records, source.mean, source.std), source.labels, strict=True
        )
    }
    batches = make_batches(source, shuffle=True)
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert {image.tobytes() for image in images} == set(label_of)
    assert [label_of[image.tobytes()] for image in images] == labels.tolist()


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_epoch_follows_from_seed_and_epoch_only(source, workers):
    options = {
        "shuffle": True,
        "seed": 5,
        "transforms": [RandomShift(1)],
        "workers": workers,
    }
    through = make_batches(source, **options)
    epochs = []
    for _ in range(3):
        epochs.append(list(through))
        through.on_epoch_end()
    assert through.epoch == 3
    assert np.any(epochs[0][0][0] != epochs[1][0][0])
    for epoch in (0, 1, 2):
        resumed = make_batches(source, **{**options, "workers": 0})
        resumed.epoch = epoch
        backwards = [resumed[index] for index in (2, 1, 0)]
        assert_same_epoch(backwards[::-1], epochs[epoch])


@pytest.mark.parametrize("sampling", [None, "balanced"])
def test_each_epoch_has_an_order_of_its_own(source, sampling):
    batches = make_batches(source, shuffle=True, sampling=sampling)
    orders = set()
    for _ in range(4):
        orders.add(tuple(np.concatenate([images[:, 0, 0, 0] for images, _ in batches])))
        batches.on_epoch_end()
    assert len(orders) == 4  # of 11! = 4e7, of millions if balanced


def test_other_seed_gives_another_order(source):
    first, second = (next(iter(make_batches(source, shuffle=True, seed=s)))[0] for s in (0, 1))
    assert np.any(first != second)


def test_epoch_without_shuffle_keeps_its_order(source):
    batches = make_batches(source)
    first = list(batches)
    batches.on_epoch_end()
    assert_same_epoch(first, list(batches))


def test_changes_are_drawn_anew_for_each_image_of_each_epoch(source):
    draws = []

    def transform(image, rng):
        draws.append(rng.random())
        return image

    batches = make_batches(source, transforms=[transform], seed=2)
    list(batches)
    batches.epoch = 1
    list(batches)
    assert len(draws) == len(set(draws)) == 22


@pytest.mark.parametrize("batch_size", [1, 3, 11])
def test_an_image_is_changed_alike_whatever_the_batch_size(source, batch_size):
    options = {
        "shuffle": True,
        "transforms": [RandomShift(1)],
        "normalised_transforms": [lambda image, rng: image + rng.normal(size=2).astype("float32")],
    }
    four = make_batches(source, **options)
    expected = [np.concatenate(parts) for parts in zip(*four, strict=True)]
    other = make_batches(source, batch_size=batch_size, **options)
    found = [np.concatenate(parts) for parts in zip(*other, strict=True)]
    assert_same_epoch([found], [expected])


def test_readers_ahead_give_the_same_batches_in_any_order_of_asking(source):
    expected = list(make_batches(source, batch_size=2, shuffle=True))
    batches = make_batches(source, batch_size=2, shuffle=True, workers=2)
    for index in (0, 0, 5, 1, 2, 4, 3):
        assert_same_epoch([batches[index]], [expected[index]])
    batches.on_epoch_end()
    batches.epoch = 0
    assert_same_epoch(list(batches), expected)


def test_batches_are_thread_safe(source):
    from concurrent.futures import ThreadPoolExecutor

    expected = list(make_batches(source, batch_size=2, shuffle=True))
    batches = make_batches(source, batch_size=2, shuffle=True, workers=2)
    indices = np.random.default_rng(0).integers(0, 6, 80).tolist()
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(batches.__getitem__, indices))
    assert_same_epoch(results, [expected[index] for index in indices])


def test_readers_read_ahead_of_use(source):
    read = []

    def transform(image, rng):
        read.append(image)
        return image

    batches = make_batches(source, batch_size=2, transforms=[transform], workers=2)
    batches[0]
    deadline = time.monotonic() + 20
    while len(read) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(read) == 6  # the batch of two and one more for each worker


@pytest.mark.parametrize("workers", [0, 2])
def test_failed_read_is_raised_and_kept(tmp_path, write_image, workers):
    for number in range(6):
        write_image(tmp_path / "train" / "cat" / f"{number}.png")
    (tmp_path / "train" / "cat" / "4.png").write_bytes(b"broken")
    source = open_source(tmp_path, "train")
    batches = make_batches(source, batch_size=2, workers=workers)
    assert len(batches[0][0]) == len(batches[1][0]) == 2
    assert batches.error is None
    with pytest.raises(ImageSourceError, match=r"4\.png cannot be read") as caught:
        batches[2]
    assert batches.error is caught.value
    with pytest.raises(ImageSourceError, match=r"4\.png cannot be read"):  # it is asked for again
        batches[2]
    assert len(batches[1][0]) == 2


@pytest.mark.parametrize("index", [-1, 3])
def test_batch_out_of_range_is_refused(source, index):
    with pytest.raises(IndexError, match=f"Batch {index} was asked for, of 3 batches"):
        make_batches(source)[index]


@pytest.mark.parametrize(
    "options, problem",
    [
        ({"batch_size": 0}, "`workers` 0 or more. Received: batch_size=0, workers=0"),
        ({"workers": -1}, "`workers` 0 or more. Received: batch_size=4, workers=-1"),
        ({"seed": -1}, "`seed` must be 0 or more. Received: -1"),
        ({"max_bad_images": -1}, "`max_bad_images` must be 0 or more. Received: -1"),
        ({"batch_size": 12, "drop_remainder": True}, "11 images are less than one batch of 12"),
        ({"shard": (2, 2)}, "an index from 0 to count - 1. Received: .2, 2."),
        ({"shard": (0, 3)}, "A batch of 4 images cannot be shared evenly by 3 processes"),
        ({"batch_size": 5, "shard": (0, 5)}, "The last batch would have 1 images for 5 processes"),
        ({"sampling": "even"}, "must be None or 'balanced'. Received: 'even'"),
        ({"sampling": "balanced"}, "another order each epoch: give shuffle=True"),
        ({"label_smoothing": 1.0}, "0 or more and less than 1. Received: 1.0"),
        ({"label_smoothing": 0.1, "labelled": False}, "labels, which these batches do not hold"),
        ({"batch_transforms": [print], "labelled": False}, "which these batches do not hold"),
    ],
)
def test_settings_out_of_range_are_refused(source, options, problem):
    with pytest.raises(ValueError, match=problem):
        make_batches(source, **options)


def test_labels_of_an_unlabelled_source_are_refused(tmp_path, write_npz):
    write_npz(tmp_path, "train", labels=None, class_names=None)
    with pytest.raises(ValueError, match="Labels are needed, but there are none: 8 images"):
        make_batches(open_source(tmp_path, "train"))


def test_source_without_images_is_refused(source):
    from dataclasses import replace

    empty = replace(source, records=source.records[:0], labels=source.labels[:0])
    with pytest.raises(ValueError, match="There are no images to make batches of"):
        make_batches(empty)
