"""The size that images are given to a model in, and how much of a picture it sees."""

import sys

from . import flag_files, model_flags
from .printable import printable


def as_weights_ask(settings, weights, backbone):
    """`Settings` with the `size` and the `evaluation_crop` to measure a model with.

    The size is --image_size, else the model's, else what suits the images. The crop is
    --evaluation_crop, else that of the run that left the weights. What is taken from elsewhere than
    the flags and the model is said on standard error.

    Args:
        settings: `Settings` of the flags.
        weights: str, as --weights says; None or empty for random weights.
        backbone: theirs.

    Raises:
        ValueError: a size that the model does not take.
    """
    settings = settings.replaced(size=_size(backbone, settings))
    of_run = flag_files.of_run(weights).get("evaluation_crop") if weights else None
    if settings.evaluation_crop is None and of_run:
        settings = settings.replaced(evaluation_crop=float(of_run))
        words = f"evaluation crop  {of_run}, as in the run of {weights}"
        print(printable(words), file=sys.stderr)
    return settings


def _size(backbone, settings):
    known, given = backbone.image_shape[:2], model_flags.given_image_size()
    if given is None and None in known:
        default = model_flags.default_image_size(settings)
        print(
            f"image size       {default}, as --weights does not say one; --image_size sets another",
            file=sys.stderr,
        )
        given = model_flags.image_size_in(default)
    return size_for(known, backbone.total_stride, "--weights", given)


def size_for(known, total_stride, name, given=None):
    """The (H, W) of the images that a model is to be given.

    Args:
        known: (H, W) that the model takes, each None for any.
        total_stride: int, the least that it takes.
        name: str, the model's name for errors.
        given: optional (H, W), as --image_size says.

    Raises:
        ValueError: a size that it does not take, or none where it takes any.
    """
    if given is None:
        if None in known:
            raise ValueError(
                f"{name} takes images of any size. Say which with --image_size, such as "
                "--image_size=224."
            )
        return tuple(known)
    if any(side not in (None, wanted) for side, wanted in zip(known, given, strict=True)):
        any_side = ", None being any" if None in known else ""
        raise ValueError(
            f"{name} takes images of {known[0]}x{known[1]} pixels{any_side}. Received: "
            f"--image_size={given[0]}x{given[1]}"
        )
    if min(given) < total_stride:
        raise ValueError(
            f"{name} takes images of {total_stride} pixels a side or more. Received: "
            f"--image_size={given[0]}x{given[1]}"
        )
    return tuple(given)
