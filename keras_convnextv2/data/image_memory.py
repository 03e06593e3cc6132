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


def reduce(image, wanted_size, box, max_megapixels):
    """Lets a JPEG decoder average squares of 2, 4 or 8 pixels a side, where that loses little.

    It does as long as the box keeps twice the size on either side, of which the filter that resizes
    makes the rest.

    Args:
        image: `PIL.Image.Image` of a JPEG file, not decoded yet.
        wanted_size: (width, height) that the box will be resized to.
        box: (left, top, right, bottom) in pixels of the file.
        max_megapixels: as in `demand_few_pixels`.

    Returns:
        The side of the squares: 1, 2, 4 or 8.

    Raises:
        ValueError: the picture has too many pixels all the same.
    """
    full_size = image.size
    left, top, right, bottom = box
    width, height = wanted_size
    # Margins are floats, and a box of exactly twice the size must not miss it by one rounding.
    most = min((right - left) / width, (bottom - top) / height) / 2 + 1e-6
    square = max(side for side in (1, 2, 4, 8) if side == 1 or side <= most)
    if square > 1 and image.draft(None, tuple(side // square for side in full_size)) is None:
        square = 1  # a file of a kind that its decoder does not reduce
    # Progressive files are held whole all the same.
    demand_few_pixels(full_size if "progressive" in image.info else image.size, max_megapixels)
    return square
