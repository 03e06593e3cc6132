"""From stored images to the normalised batches that `keras.Model.fit` takes."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np

from keras_convnextv2.models.normalisation import IMAGENET_MEAN, IMAGENET_STD


def preprocess(images, mean=IMAGENET_MEAN, std=IMAGENET_STD):
    """Normalises images: (images / 255 - mean) / std, a channel.

    Args:
        images: uint8 (..., H, W, C).
        mean: C floats, for images in 0..1.
        std: C floats, for images in 0..1.

    Returns:
        float32 (..., H, W, C).

    Raises:
        ValueError: images that are not uint8, or another number of channels.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> grey = np.full((2, 32, 32, 1), 51, "uint8")
        >>> images = kc.preprocess(grey, mean=[0.5], std=[0.25])
        >>> images.dtype.name, round(float(images[0, 0, 0, 0]), 4)
        ('float32', -1.2)
    """
    images = np.asarray(images)
    if images.dtype != "uint8":
        raise ValueError(
            f"`preprocess` takes uint8 images in 0..255. Received: {images.dtype}. Floats are "
            "taken as already normalised: give them to the model as they are."
        )
    if images.ndim < 3 or not images.shape[-1] == len(mean) == len(std):
        raise ValueError(
            f"`images` must be (..., H, W, C) with one mean and one std a channel. Received: "
            f"shape {images.shape}, {len(mean)} means, {len(std)} stds"
        )
    mean, std = np.asarray(mean, "float64"), np.asarray(std, "float64")
    normalised = images.astype("float32")
    normalised *= (1 / (255 * std)).astype("float32")
    normalised -= (mean / std).astype("float32")
    return normalised


class ImageBatches(keras.utils.PyDataset):
    """Batches of normalised images, for `fit`, `evaluate` and `predict` on every backend.

    The order of an epoch follows from (seed, epoch), and what `augment` draws from (seed, epoch,
    batch): a run that goes on after a stop sees what it would have seen. For that, give `fit`
    both `shuffle=False`, since its default shuffles the batches again by an unseeded generator,
    and `SetEpoch` among the callbacks.

    A batch is `(images,)` or `(images, labels)`: float32 (B, H, W, C) and int32 (B,). The last
    one of an epoch may be smaller.

    Args:
        source: `ImageSource`.
        image_size: (H, W) in pixels.
        batch_size: int.
        labelled: bool, whether batches hold labels.
        shuffle: bool, whether the images come in another order each epoch.
        seed: int, 0 or more.
        drop_remainder: bool, leaves out a last, smaller batch, so that shapes are static.
        augment: optional function of (uint8 (B, H, W, C), `numpy.random.Generator`) that returns
            uint8 images.
        workers: int, threads that read batches ahead of use. 1: read when asked for.

    Attributes:
        epoch: int, the epoch that batches are of. `on_epoch_end` adds 1; it can be set.
        error: what reading a batch raised, or None. A backend may raise something else for it.

    Examples:
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from keras_convnextv2.data import ImageBatches, open_source
        >>> Path("pictures").mkdir()
        >>> images = np.zeros((10, 32, 32, 1), "uint8")
        >>> np.savez("pictures/train.npz", images=images, mean=[0.5], std=[0.25])
        >>> source = open_source("pictures", "train")
        >>> batches = ImageBatches(source, (24, 24), batch_size=4, labelled=False, shuffle=True)
        >>> [len(images) for (images,) in (batches[place] for place in range(len(batches)))]
        [4, 4, 2]
    """

    def __init__(
        self,
        source,
        image_size,
        batch_size,
        *,
        labelled,
        shuffle=False,
        seed=0,
        drop_remainder=False,
        augment=None,
        workers=1,
    ):
        # Keras is told of no workers: its queue repeats some batches and loses others in the
        # first epoch of a fit that has drawn a batch to build the metrics with (3.15).
        super().__init__(workers=1)
        if batch_size < 1 or workers < 1:
            raise ValueError(
                "`batch_size` and `workers` must be 1 or more. "
                f"Received: batch_size={batch_size!r}, workers={workers!r}"
            )
        if seed < 0:
            raise ValueError(f"`seed` must be 0 or more. Received: {seed!r}")
        if len(source) == 0:
            raise ValueError(f"There are no images to make batches of: {source.description}")
        if labelled and source.labels is None:
            raise ValueError(
                f"Labels are needed, but there are none: {source.description}. Give a folder with "
                "one folder a class."
            )
        if drop_remainder and len(source) < batch_size:
            raise ValueError(
                f"{len(source)} images are less than one batch of {batch_size}, and smaller "
                "batches are left out. Choose a smaller batch size (--batch_size of the "
                "recipes) or add images."
            )
        self.source = source
        self.image_size = tuple(image_size)
        self.batch_size = batch_size
        self.labelled = labelled
        self.shuffle = shuffle
        self.seed = seed
        self.drop_remainder = drop_remainder
        self.augment = augment
        self.epoch = 0
        self.error = None
        self._num_ahead = workers
        self._readers = ThreadPoolExecutor(workers) if workers > 1 else None
        self._ahead = {}  # (epoch, batch index): its future
        self._lock = threading.Lock()
        self._order = (None, None)  # an epoch and the order of its images

    @property
    def num_images(self):
        """Images in the source; an epoch has fewer where the remainder is dropped."""
        return len(self.source)

    def __len__(self):
        """Batches in an epoch."""
        if self.drop_remainder:
            return self.num_images // self.batch_size
        return math.ceil(self.num_images / self.batch_size)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"Batch {index} was asked for, of {len(self)} batches")
        try:
            if self._readers is None:
                return self._read_batch(self.epoch, index)
            return self._take_ahead(self.epoch, index)
        except Exception as error:
            self.error = error
            raise

    def on_epoch_end(self):
        self.epoch += 1

    def _take_ahead(self, epoch, index):
        """The batch, while the readers go on with those after it."""
        with self._lock:
            wanted = [
                (epoch, ahead)
                for ahead in range(index, min(index + 1 + self._num_ahead, len(self)))
            ]
            for key in self._ahead.keys() - set(wanted):
                self._ahead.pop(key).cancel()
            for key in wanted:
                if key not in self._ahead:
                    self._ahead[key] = self._readers.submit(self._read_batch, *key)
            future = self._ahead.pop((epoch, index))
        return future.result()

    def _read_batch(self, epoch, index):
        indices = self._epoch_order(epoch)[index * self.batch_size : (index + 1) * self.batch_size]
        images = self.source.read(indices, self.image_size)
        if self.augment is not None:
            # index + 1, since numpy gives [seed, epoch, 0] the stream of [seed, epoch].
            generator = np.random.default_rng([self.seed, epoch, index + 1])
            images = self.augment(images, generator)
        images = preprocess(images, self.source.mean, self.source.std)
        return (images, self.source.labels[indices]) if self.labelled else (images,)

    def _epoch_order(self, epoch):
        known_epoch, order = self._order  # one tuple: another thread may replace it meanwhile
        if known_epoch != epoch:
            order = np.arange(self.num_images)
            if self.shuffle:
                order = np.random.default_rng([self.seed, epoch]).permutation(self.num_images)
            self._order = (epoch, order)
        return order


class SetEpoch(keras.callbacks.Callback):
    """Sets `batches.epoch` to the epoch that `fit` begins.

    Without it the first epoch of a `fit` is not `batches.epoch`: Keras calls `on_epoch_end` once
    before it. With it, `fit(..., initial_epoch=e)` draws epoch e.

    Args:
        batches: `ImageBatches`.

    Examples:
        >>> import numpy as np, keras
        >>> from pathlib import Path
        >>> from keras_convnextv2.data import ImageBatches, SetEpoch, open_source
        >>> Path("labelled").mkdir()
        >>> images, labels = np.zeros((8, 8, 8, 1), "uint8"), np.arange(8) % 2
        >>> settings = {"mean": [0.5], "std": [0.25], "class_names": ["cat", "dog"]}
        >>> np.savez("labelled/train.npz", images=images, labels=labels, **settings)
        >>> source = open_source("labelled", "train")
        >>> batches = ImageBatches(source, (8, 8), batch_size=4, labelled=True, shuffle=True)
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
        >>> model.add(keras.layers.Dense(2))
        >>> model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> callbacks = [SetEpoch(batches)]
        >>> history = model.fit(batches, epochs=2, shuffle=False, callbacks=callbacks, verbose=0)
        >>> history.epoch
        [0, 1]
    """

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.epoch = epoch
