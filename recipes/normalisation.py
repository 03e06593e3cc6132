"""What a model's images are normalised with: the one place that decides."""

import sys
from pathlib import Path

from absl import flags

from . import flag_files
from .printable import printable

FLAGS = flags.FLAGS


def define_flags():
    """--mean and --std."""
    for name in ("mean", "std"):
        flags.DEFINE_list(
            name,
            None,
            f"The {name} of the images that the model was trained on, one number a channel for "
            "pixels in 0..1. Default: what the model says.",
        )


def settle(backbone, source, images=None):
    """Sees to it that `backbone.normalisation` is what its images are to be normalised with.

    That is what the flags say, else what the model says. For a model that says nothing, as those
    of version 0.1 and weights from elsewhere, a line on standard error says what is taken, and
    why: the numbers of its run's images, those of `images`, or ImageNet's.

    Args:
        backbone: a `ConvNeXtV2Backbone`.
        source: str, the run's folder, the file or the name that the model was read from.
        images: optional `ImageSource` of images that the model is tried on.

    Raises:
        ValueError: flags that do not fit, or images that are not RGB and of which nothing is known.
    """
    from keras_convnextv2.data import IMAGENET_MEAN, IMAGENET_STD

    channels = backbone.image_shape[-1]
    if FLAGS.mean is not None or FLAGS.std is not None:
        backbone.normalisation = _from_flags(channels)
    if backbone.normalisation is not None:
        return
    if (found := _of_run(Path(source), channels)) is not None:
        why = "those of the images that its run read"
    elif images is not None:
        found, why = (images.mean, images.std), f"those of the images: {images.description}"
    elif channels == len(IMAGENET_MEAN):
        found, why = (IMAGENET_MEAN, IMAGENET_STD), "ImageNet's"
    else:
        raise ValueError(
            f"What images of {channels} channel(s) are to be normalised with is not known: "
            f"{source} does not say it, nor has it a run's settings.flags beside it. Give --mean "
            "and --std."
        )
    backbone.normalisation = found
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in found)
    _say(
        f"{source} does not say what its images were normalised with. Taken: mean {mean}, "
        f"std {std}, {why}."
    )


def _say(remark):
    print(printable(remark), file=sys.stderr)


def _from_flags(channels):
    from keras_convnextv2.models.normalisation import checked_normalisation

    given = [FLAGS[name].value or () for name in ("mean", "std")]
    try:
        return checked_normalisation([list(map(float, words)) for words in given], channels)
    except ValueError as error:
        mean, std = map(",".join, given)
        raise ValueError(
            f"--mean and --std are {channels} number(s) each, one a channel, and those of --std "
            f"are positive. Received: --mean={mean} --std={std}"
        ) from error


def _of_run(path, channels):
    """(mean, std) of the images that the run of a model read, or None where it does not say."""
    import numpy as np

    from keras_convnextv2.data import IMAGENET_MEAN, IMAGENET_STD

    from .images import EMBEDDED_IMAGES

    data_dir = flag_files.of_run(path).get("data_dir")
    if data_dir is None:
        return None
    images = Path(data_dir or EMBEDDED_IMAGES).expanduser()
    if not images.exists():
        _say(f"The settings.flags of {path} names images in {images}, which is not there.")
        return None
    mean, std = IMAGENET_MEAN, IMAGENET_STD  # of files in folders
    if (images / "train.npz").is_file():
        try:
            with np.load(images / "train.npz", allow_pickle=False) as arrays:
                mean, std = (tuple(arrays[name].tolist()) for name in ("mean", "std"))
        except Exception as error:  # zipfile, zlib and numpy raise anything on damaged bytes
            raise ValueError(
                f"{images / 'train.npz'}, whose images the run's settings name, cannot be read "
                f"({type(error).__name__}: {error}). Give --mean and --std."
            ) from error
    return (mean, std) if len(mean) == channels else None
