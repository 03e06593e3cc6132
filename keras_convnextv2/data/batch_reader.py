"""From the plan of a batch to its arrays."""

import dataclasses

import numpy as np

from keras_convnextv2.data.image_source import UnreadableImageError
from keras_convnextv2.data.label_smoothing import smooth_labels
from keras_convnextv2.data.preprocessing import normalise_into


@dataclasses.dataclass(frozen=True)
class Batch:
    """What `BatchReader` gives.

    Args:
        images: float32 (B, H, W, C).
        labels: int32 (B,), float32 (B, num_classes), or None.
        bad: {name: reason} of the images that could not be read.
    """

    images: np.ndarray
    labels: np.ndarray | None
    bad: dict


@dataclasses.dataclass(frozen=True)
class BatchReader:
    """Reads and changes the images of a batch; has no state, so that threads may share it.

    Args: as of `ImageBatches`.
    """

    source: object
    framing: object
    labelled: bool
    transforms: tuple
    normalised_transforms: tuple
    batch_transforms: tuple
    label_smoothing: float
    replaces_bad: bool

    def read(self, plan, rng):
        """`Batch` of a plan.

        Args:
            plan: tuple of (index of an image, seed of its changes).
            rng: `numpy.random.Generator` of the batch.
        """
        shape = (*self.framing.image_size, self.source.channels)
        images = np.empty((len(plan), *shape), "float32")
        indices, bad = [], {}
        for place, (index, seed) in enumerate(plan):
            indices.append(self._read_into(images[place], index, seed, bad))
        labels = self.labels(indices) if self.labelled else None
        if self.batch_transforms:
            # The same draws for each part of a batch, and whenever it is asked.
            rng = np.random.default_rng([int(rng.integers(2**63)), 0])
            for transform in self.batch_transforms:
                images, labels = transform(images, labels, rng)
        return Batch(images, labels, bad)

    def _read_into(self, normalised, index, seed, bad):
        """Fills float32 (H, W, C), and returns the index of the image that was read."""
        rng = np.random.default_rng(seed)
        image, index = self._read_or_replace(index, rng, seed, bad)
        for transform in self.transforms:
            image = _demanded(transform(image, rng), normalised.shape, "uint8", transform)
        normalise_into(normalised, image, self.source.mean, self.source.std)
        for transform in self.normalised_transforms:
            changed = _demanded(transform(normalised, rng), normalised.shape, "float32", transform)
            if changed is not normalised:
                normalised[:] = changed
        return index

    def _read_or_replace(self, index, rng, seed, bad):
        """(uint8 (H, W, C), index): of another image where one cannot be read."""
        try:
            return self.source.read_one(index, self.framing, rng), index
        except UnreadableImageError as error:
            if not self.replaces_bad:
                raise
            bad[error.name] = error.reason
        for other in np.random.default_rng([seed, 1]).permutation(len(self.source)).tolist():
            try:
                return self.source.read_one(other, self.framing, rng), other
            except UnreadableImageError as error:
                bad[error.name] = error.reason
        raise error_of(bad, len(self.source))

    def labels(self, indices):
        """The labels of images as a batch has them, before any is mixed."""
        labels = self.source.labels[indices]
        if not (self.label_smoothing or self.batch_transforms):
            return labels
        is_one_label = labels.ndim == 1
        if is_one_label:
            labels = np.eye(len(self.source.class_names), dtype="float32")[labels]
        return smooth_labels(labels, self.label_smoothing, exclusive=is_one_label)


def error_of(bad, num_images, allowed=0):
    """`UnreadableImageError` that names all of some images.

    Args:
        bad: {name: reason}.
        num_images: int, that were looked at or could be.
        allowed: int, how many would have been passed over.
    """
    limit = f", more than the {allowed} that may be passed over (max_bad_images)" if allowed else ""
    names = "; ".join(f"{name} ({reason})" for name, reason in bad.items())
    return UnreadableImageError(
        f"{len(bad)} of {num_images:,} images cannot be read{limit}: {names}. Replace these files "
        "or delete them.",
        *next(iter(bad.items())),
    )


def _demanded(image, shape, dtype, transform):
    if image.shape != shape or image.dtype != dtype:
        raise ValueError(
            f"A transform must return {dtype} {shape}, as it is given. Received: {image.dtype} "
            f"{image.shape} of {transform!r}"
        )
    return image
