"""From stored images to the normalised batches that `keras.Model.fit` takes."""

import copy
import functools
import threading

import keras
import numpy as np

from keras_convnextv2.data.batch_reader import BatchReader, error_of
from keras_convnextv2.data.batch_settings import check_batch_settings
from keras_convnextv2.data.epoch_order import batch_plans, part_of
from keras_convnextv2.data.fingerprint import changes, fingerprint
from keras_convnextv2.data.framing import as_framing
from keras_convnextv2.data.preprocessing import preprocess
from keras_convnextv2.data.reading_ahead import ReadingAhead

__all__ = ["ImageBatches", "preprocess"]


class ImageBatches(keras.utils.PyDataset):
    """Batches of normalised images, for `fit`, `evaluate` and `predict` on every backend.

    Which image comes when, and how it is changed, follows from (seed, epoch, place in the epoch)
    alone, and what `batch_transforms` draw from (seed, epoch, batch): it is the same for any number
    of workers, and a run that goes on after a stop sees what it would have seen. For that, give
    `fit` both `shuffle=False`, since its default shuffles the batches again by an unseeded
    generator, and `SetEpoch` among the callbacks; `training.Checkpoints` does both.

    A batch is `(images,)` or `(images, labels)`: float32 (B, H, W, C), and int32 (B,) or, where
    labels are several an image, smoothed or mixed, float32 (B, num_classes). The last one of an
    epoch may be smaller. The package grain, of the extra `recipes`, draws the order and reads
    ahead.

    Args:
        source: `ImageSource`.
        framing: (H, W) in pixels, or another framing than `Cover`.
        batch_size: int, images that all shards together take for a batch.
        labelled: bool, whether batches hold labels.
        shuffle: bool, whether the images come in another order each epoch.
        seed: int, 0 or more.
        drop_remainder: bool, leaves out a last, smaller batch, so that shapes are static.
        sampling: None takes each image once an epoch; "balanced" takes as many, of each class
            equally many, and so those of a small class several times.
        transforms: functions of (uint8 (H, W, C), `numpy.random.Generator`) that return such an
            image, in their order.
        normalised_transforms: the same, of the normalised float32 image.
        batch_transforms: functions of (images, labels, `numpy.random.Generator`) that return
            images and labels, as in a batch with soft labels.
        label_smoothing: float, the share of a label that is spread over all classes.
        max_bad_images: int, how many images that cannot be read are passed over. Another image
            is read in the place of each; which one follows from (seed, epoch, place). Each shard
            counts its own.
        workers: int, threads that read batches ahead of use. 0: read when asked for.
        shard: (index, count): of several processes, which this one is. The parts of all, one
            behind the other, are the batch that one process alone would read. `batch_transforms`
            see a part alone, and draw the same for each part of a batch; with an even number of
            images in each, `Mixing` mixes those that it would mix in the whole batch.

    Attributes:
        epoch: int, the epoch that batches are of. `on_epoch_end` adds 1; it can be set.
        error: what reading a batch raised, or None. A backend may raise something else for it.
        bad_images: {name: reason} of the images that were passed over.
        resumed: (epoch, number of its batches that are left out), by `restore`.

    Raises:
        ValueError: settings that do not go together, or are not of these images.
        ImageSourceError: grain is not installed.

    Examples:
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from keras_convnextv2.data import ImageBatches, open_source
        >>> Path("pictures").mkdir()
        >>> images = np.zeros((10, 32, 32, 1), "uint8")
        >>> np.savez("pictures/train.npz", images=images, mean=[0.5], std=[0.25])
        >>> source = open_source("pictures", "train")
        >>> batches = ImageBatches(source, (24, 24), batch_size=4, labelled=False, shuffle=True)
        >>> [len(images) for (images,) in batches]
        [4, 4, 2]
        >>> (first,) = batches[0]
        >>> state = batches.state()
        >>> state["epoch"], state["batch"]
        (0, 1)
    """

    def __init__(
        self,
        source,
        framing,
        batch_size,
        *,
        labelled,
        shuffle=False,
        seed=0,
        drop_remainder=False,
        sampling=None,
        transforms=(),
        normalised_transforms=(),
        batch_transforms=(),
        label_smoothing=0.0,
        max_bad_images=0,
        workers=0,
        shard=(0, 1),
    ):
        # Keras is told of no workers: its queue repeats some batches and loses others in the
        # first epoch of a fit that has drawn a batch to build the metrics with (3.15).
        super().__init__(workers=1)
        self.source = source
        self.framing = as_framing(framing)
        self.batch_size = batch_size
        self.labelled = labelled
        self.shuffle = shuffle
        self.seed = seed
        self.drop_remainder = drop_remainder
        self.sampling = sampling
        self.label_smoothing = label_smoothing
        self.max_bad_images = max_bad_images
        self.shard = tuple(shard)
        self.epoch = 0
        self.error = None
        self.bad_images = {}
        self.resumed = (None, 0)
        self._images = None  # their fingerprint
        check_batch_settings(self, workers, tuple(batch_transforms))
        self._whole_plans = batch_plans(
            len(source),
            batch_size,
            seed=seed,
            shuffle=shuffle,
            labels=source.labels if sampling == "balanced" else None,
            drop_remainder=drop_remainder,
        )
        self._reader = BatchReader(
            source,
            self.framing,
            labelled,
            tuple(transforms),
            tuple(normalised_transforms),
            tuple(batch_transforms),
            label_smoothing,
            replaces_bad=max_bad_images > 0,
        )
        self._epoch_length = len(self._whole_plans)
        self._read_workers = workers
        self._read(self.shard)
        self._next = 0  # the batch after the last one that was handed out, counted over all epochs
        self._lock = threading.Lock()

    @property
    def image_size(self):
        """(H, W) in pixels."""
        return self.framing.image_size

    @property
    def num_images(self):
        """Images in the source; an epoch has fewer where the remainder is dropped."""
        return len(self.source)

    @property
    def num_bad(self):
        """How many images were passed over."""
        return len(self.bad_images)

    @property
    def epoch_length(self):
        """Batches in a whole epoch."""
        return self._epoch_length

    def __len__(self):
        """Batches in an epoch; fewer in one that `restore` goes on with."""
        return self._epoch_length - self._num_left_out()

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"Batch {index} was asked for, of {len(self)} batches")
        return self.of_epoch(self.epoch, index)

    def of_epoch(self, epoch, index):
        """The batch of another epoch than `epoch` says; of one that goes on, of those left."""
        with self._lock:
            place = epoch * self._epoch_length + self._num_left_out(epoch) + index
            try:
                batch = self._batches[place]
                self._pass_over(batch.bad)
            except Exception as error:
                self.error = error
                raise
            self._next = place + 1
        return (batch.images, batch.labels) if self.labelled else (batch.images,)

    def _read(self, shard, fill_to=1):
        """Reads a part of each batch from now on; each filled up to a multiple of `fill_to`."""
        self._plans = self._whole_plans.map(
            functools.partial(part_of, shard=shard, fill_to=fill_to)
        )
        # Only what is shuffled is trained on, and goes on into the next epoch.
        batches = self._plans.random_map(self._reader.read)
        self._batches = ReadingAhead(batches, self._read_workers, endless=self.shuffle)

    def on_epoch_end(self):
        self.epoch += 1

    def filled_part(self, shard, fill_to):
        """These batches, each filled up by its last image before it is cut into equal parts.

        Args:
            shard: (index, count), which part to read.
            fill_to: int, a multiple of the count: images are filled up to a multiple of it.
        """
        if self._reader.batch_transforms or self.max_bad_images:
            raise ValueError(
                "An evaluation on several devices takes batches without `batch_transforms` and "
                "`max_bad_images`."
            )
        other = copy.copy(self)
        other._lock = threading.Lock()
        other.error = None
        other._read(shard, fill_to)
        return other

    def labels_of(self, batch):
        """The labels of a batch of `epoch`, of all parts; zeros for images without labels.

        Args:
            batch: int, in the whole epoch.
        """
        place = self.epoch * self._epoch_length + self._num_left_out() + batch
        indices = [index for index, _ in self._whole_plans[place]]
        if not self.labelled:
            return np.zeros(len(indices), "int32")
        return self._reader.labels(indices)

    def names(self, batch):
        """What the images of a whole batch of `epoch` are called, a list of str: paths, or numbers.

        Args:
            batch: int, in the whole epoch.
        """
        plan = self._whole_plans[self.epoch * self._epoch_length + batch]
        return [self.source.name_of(index) for index, _ in plan]

    def state(self, batch=None):
        """Where in the images a run is: a small dict that JSON keeps.

        Args:
            batch: how many batches of `epoch` are done. Default: up to the last that was handed
                out. TensorFlow and JAX take some batches ahead of the step that they train, so a
                callback has to count its steps and give it.

        Returns:
            dict, for `restore`.
        """
        place = self._next
        if batch is not None:
            place = self.epoch * self._epoch_length + self._num_left_out() + batch
        epoch, batch = divmod(place, self._epoch_length)
        return {
            "epoch": epoch,
            "batch": batch,
            "bad_images": dict(self.bad_images),
            "images": self._known_images(),
            **self._identity(),
        }

    def restore(self, state):
        """Goes on where `state` was taken, with any number of workers and of shards.

        Other images are noticed by their number, names and labels, and by their contents as far as
        `fingerprint` looks at them: files of a gigabyte in all, or as many of more.

        `epoch` is that of the state. As long as it is, `batches[0]` is the first batch that was not
        done, and `len(batches)` the number of those; the next epoch is whole. Keras counts the
        batches of an epoch once a `fit`: give the rest of this epoch a `fit` of its own.

        Args:
            state: dict of `state`.

        Raises:
            ValueError: it is of other images, or of batches that are made in another way.
        """
        others = [
            f"{name} {state.get(name)!r} instead of {value!r}"
            for name, value in self._identity().items()
            if state.get(name) != value
        ]
        if changed := changes(state.get("images"), self._known_images()):
            others.append(f"images of other {' and '.join(changed)}")
        if others:
            raise ValueError(
                f"The state is of other batches: {', '.join(others)}. Make the batches as those "
                "were made that it was taken of."
            )
        epoch, batch, bad = (state.get(name) for name in ("epoch", "batch", "bad_images"))
        is_place = type(epoch) is int and type(batch) is int and epoch >= 0
        if not is_place or not 0 <= batch < self._epoch_length or not isinstance(bad, dict):
            raise ValueError(f"The state is of no batch: epoch {epoch!r}, batch {batch!r}")
        with self._lock:
            self.epoch = epoch
            self.resumed = (epoch, batch)
            self._next = epoch * self._epoch_length + batch
            self.bad_images = dict(bad)

    def begin_anew(self):
        """Forgets what `restore` was told: the epochs are whole again, of the images of now."""
        self.resumed = (None, 0)
        self._images = fingerprint(self.source)

    def _identity(self):
        """What batches with the same state must have in common."""
        return {
            "seed": self.seed,
            "num_images": self.num_images,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "sampling": self.sampling,
            "drop_remainder": self.drop_remainder,
        }

    def _known_images(self):
        if self._images is None:
            self._images = fingerprint(self.source)
        return self._images

    def _num_left_out(self, epoch=None):
        resumed, count = self.resumed
        return count if resumed == (self.epoch if epoch is None else epoch) else 0

    def _pass_over(self, bad):
        self.bad_images.update(bad)
        if len(self.bad_images) > self.max_bad_images:
            raise error_of(self.bad_images, self.num_images, self.max_bad_images)
