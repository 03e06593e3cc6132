"""What the images of a saved model were normalised with, where the model itself does not say."""

import sys
from pathlib import Path

from absl import flags

FLAGS = flags.FLAGS


def define_flags():
    """--mean and --std."""
    for name in ("mean", "std"):
        flags.DEFINE_list(
            name,
            None,
            f"The {name} of the images that the model was trained on, one number a channel for "
            "pixels in 0..1. Default: as its run's settings.flags say, else ImageNet's.",
        )


def mean_and_std(model_path, channels, otherwise=None):
    """(mean, std) of a model from the flags, its run's settings, `otherwise`, or ImageNet's.

    Args:
        model_path: what --model or --weights says: a run's folder, a file in it, or anything else.
        channels: int, of the model's images.
        otherwise: optional (mean, std), for a model without a run.

    Returns:
        Two tuples of `channels` floats, for images in 0..1.

    Raises:
        ValueError: flags that do not fit, or images that are not RGB and of which nothing is known.
    """
    from keras_convnextv2.data import IMAGENET_MEAN, IMAGENET_STD

    if FLAGS.mean is not None or FLAGS.std is not None:
        return _from_flags(channels)
    found = _from_run(Path(model_path), channels)
    if found is not None or otherwise is not None:
        return found or otherwise
    if channels != len(IMAGENET_MEAN):
        raise ValueError(
            f"What images of {channels} channel(s) are to be normalised with is not known: "
            f"{model_path} has no settings.flags of a run beside it. Give --mean and --std."
        )
    return IMAGENET_MEAN, IMAGENET_STD


def _from_flags(channels):
    values = []
    for name in ("mean", "std"):
        try:
            values.append(tuple(float(number) for number in FLAGS[name].value or ()))
        except ValueError:
            values.append(())
        if len(values[-1]) != channels:
            given = ",".join(FLAGS[name].value or ())
            raise ValueError(
                f"--mean and --std are {channels} number(s) each, one a channel. Received: "
                f"--{name}={given}"
            )
    if min(values[1]) <= 0:
        raise ValueError(f"--std must be positive. Received: {','.join(FLAGS.std)}")
    return tuple(values)


def _from_run(path, channels):
    """(mean, std) of the images that the run of a model read, or None where it does not say."""
    import numpy as np

    from keras_convnextv2.data import IMAGENET_MEAN, IMAGENET_STD
    from recipes.images import EMBEDDED_IMAGES

    folder = path if path.is_dir() else path.parent
    folder = folder.parent if folder.name == "checkpoints" else folder
    settings = folder / "settings.flags"
    if not settings.is_file():
        return None
    words = [line.partition("=") for line in settings.read_text().splitlines()]
    data_dir = next((value for name, _, value in words if name == "--data_dir"), None)
    if data_dir is None:
        return None
    images = Path(data_dir or EMBEDDED_IMAGES).expanduser()
    if not images.is_dir():
        print(f"{settings} names images in {images}, which is not there.", file=sys.stderr)
        return None
    mean, std = IMAGENET_MEAN, IMAGENET_STD  # of files in folders
    if (images / "train.npz").is_file():
        with np.load(images / "train.npz", allow_pickle=False) as arrays:
            mean, std = (tuple(arrays[name].tolist()) for name in ("mean", "std"))
    return (mean, std) if len(mean) == channels else None
