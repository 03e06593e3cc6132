"""The size that images are given to a model in."""


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
