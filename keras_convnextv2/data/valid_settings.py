"""What the settings of an augmentation must be, said in one way."""


def demand_probability(name, value):
    """Raises ValueError for a value outside 0..1."""
    if not 0 <= value <= 1:
        raise ValueError(f"`{name}` is a probability, from 0 to 1. Received: {value!r}")


def demand_range(name, value, above, highest=float("inf")):
    """Raises ValueError for all but a pair (low, high) with `above` < low <= high <= `highest`."""
    pair = tuple(value) if isinstance(value, tuple | list) else ()
    if len(pair) != 2 or not above < pair[0] <= pair[1] <= highest:
        limit = "" if highest == float("inf") else f" <= {highest:g}"
        raise ValueError(
            f"`{name}` must be a pair (low, high) with {above:g} < low <= high{limit}. "
            f"Received: {value!r}"
        )


def demand_image_size(value):
    """Raises ValueError for all but a pair (H, W) of whole pixels, 1 or more."""
    pair = tuple(value) if isinstance(value, tuple | list) else ()
    if len(pair) != 2 or not all(side == int(side) and side >= 1 for side in pair):
        raise ValueError(
            f"`image_size` must be (H, W) in whole pixels, 1 or more. Received: {value!r}"
        )


def demand_channels(image, channels):
    """Raises ValueError for an image that is not uint8 (H, W, channels); None: any number."""
    is_image = image.dtype == "uint8" and image.ndim == 3
    if not is_image or channels not in (None, image.shape[-1]):
        raise ValueError(
            f"The transform is for uint8 images (H, W, {channels or 'C'}). "
            f"Received: {image.dtype} {image.shape}"
        )
