"""Settings of `ImageBatches` that cannot be meant."""

from keras_convnextv2.data.mixing import Mixing


def check_batch_settings(batches, workers, batch_transforms):
    """Raises ValueError, one line that says what came and what to do.

    Args:
        batches: `ImageBatches`, with its settings.
        workers: int.
        batch_transforms: of the batches.
    """
    source, (index, count) = batches.source, batches.shard
    if batches.batch_size < 1 or workers < 0:
        raise ValueError(
            "`batch_size` must be 1 or more, and `workers` 0 or more. "
            f"Received: batch_size={batches.batch_size!r}, workers={workers!r}"
        )
    for name in ("seed", "max_bad_images"):
        if getattr(batches, name) < 0:
            raise ValueError(f"`{name}` must be 0 or more. Received: {getattr(batches, name)!r}")
    if len(source) == 0:
        raise ValueError(f"There are no images to make batches of: {source.description}")
    if batches.labelled and source.labels is None:
        raise ValueError(
            f"Labels are needed, but there are none: {source.description}. Give a folder with "
            "one folder a class."
        )
    if batches.drop_remainder and len(source) < batches.batch_size:
        raise ValueError(
            f"{len(source)} images are less than one batch of {batches.batch_size}, and smaller "
            "batches are left out. Choose a smaller batch size (--batch_size of the "
            "recipes) or add images."
        )
    _check_shard(batches, index, count)
    mixes = any(isinstance(transform, Mixing) for transform in batch_transforms)
    if count > 1 and mixes and batches.batch_size // count % 2:
        raise ValueError(
            f"Mixup and cutmix mix pairs of images, and a part of {batches.batch_size // count} "
            f"images has one over. Choose a batch size that is a multiple of {2 * count}."
        )
    _check_sampling(batches)
    _check_labels(batches, batch_transforms)


def _check_shard(batches, index, count):
    if not 0 <= index < count:
        raise ValueError(
            f"`shard` must be (index, count) with an index from 0 to count - 1. "
            f"Received: {batches.shard!r}"
        )
    if batches.batch_size % count:
        raise ValueError(
            f"A batch of {batches.batch_size} images cannot be shared evenly by {count} processes. "
            f"Choose a multiple of {count}."
        )
    rest = len(batches.source) % batches.batch_size
    if not batches.drop_remainder and 0 < rest < count:
        raise ValueError(
            f"The last batch would have {rest} images for {count} processes. Leave it out "
            "(drop_remainder=True) or choose another batch size."
        )


def _check_sampling(batches):
    if batches.sampling not in (None, "balanced"):
        raise ValueError(f"`sampling` must be None or 'balanced'. Received: {batches.sampling!r}")
    if batches.sampling is None:
        return
    labels = batches.source.labels
    if labels is None or labels.ndim > 1:
        found = "none" if labels is None else "several labels an image"
        raise ValueError(
            f"sampling='balanced' draws classes, which needs one label an image. There are "
            f"{found}: {batches.source.description}"
        )
    if not batches.shuffle:
        raise ValueError("sampling='balanced' draws another order each epoch: give shuffle=True.")


def _check_labels(batches, batch_transforms):
    if not 0 <= batches.label_smoothing < 1:
        raise ValueError(
            "`label_smoothing` must be 0 or more and less than 1. "
            f"Received: {batches.label_smoothing!r}"
        )
    if not batches.labelled and (batches.label_smoothing or batch_transforms):
        raise ValueError(
            "`label_smoothing` and `batch_transforms` change labels, which these batches do not "
            "hold (labelled=False)."
        )
