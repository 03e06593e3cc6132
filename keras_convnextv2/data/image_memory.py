"""How much memory one picture may take."""

import math

MAX_MEGAPIXELS = 64.0  # 256 MB, and as much again while it is turned or its colours are changed


def demand_few_pixels(size, max_megapixels):
    """Raises ValueError for a picture of too many pixels to be decoded.

    Args:
        size: (width, height) that would be in memory.
        max_megapixels: float, million pixels.
    """
    width, height = size
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise ValueError(
            f"its {width}x{height} pixels are {megapixels:.3g} million, above the limit of "
            f"{max_megapixels:g}. It is raised by --max_megapixels={math.ceil(megapixels)}, or by "
            "`max_megapixels` of its source"
        )


def reduce(image, image_size, max_megapixels):
    """Sees to it that a picture that was opened takes no more memory than it has to.

    A JPEG decoder can average squares of 2, 4 or 8 pixels a side on its way. It is let to as long
    as twice the size remains, of which the filter that resizes makes the rest; both sides are taken
    for the longer, since the picture may be turned.

    Args:
        image: `PIL.Image.Image`, not decoded yet.
        image_size: (H, W) that it will fill.
        max_megapixels: as in `demand_few_pixels`.

    Returns:
        (width, height) of the picture in the image: floats, where its squares are not all whole.

    Raises:
        ValueError: it is too large all the same.
    """
    in_memory = image.size
    reduced = image.draft(None, (2 * max(image_size),) * 2)  # None of all but JPEG
    if reduced is not None and "progressive" not in image.info:  # those are held whole all the same
        in_memory = image.size
    demand_few_pixels(in_memory, max_megapixels)
    return image.size if reduced is None else reduced[1][2:]
