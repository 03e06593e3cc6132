"""The size that images are given to a model in."""

import sys

from . import model_flags


def size_of_weights(backbone, settings):
    """The (H, W) to take images at: --image_size, else the model's, else what suits the images.

    The last is said on standard error: weights that name no size may be of another.

    Args:
        backbone: of --weights.
        settings: whose `data_dir` says where the images are.

    Raises:
        ValueError: a size that the model does not take.
    """
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
