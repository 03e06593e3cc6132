"""The eight ways in which a picture is stored, by the numbers of the EXIF field Orientation."""

_SIDES_SWAPPED = (5, 6, 7, 8)
_UPSIDE_DOWN = (3, 4, 7, 8)
_MIRRORED = (2, 3, 6, 7)


def turned(values, orientation):
    """Stored values (h, w, ...) as an upright picture: a view."""
    if orientation in _SIDES_SWAPPED:
        values = values.swapaxes(0, 1)
    if orientation in _UPSIDE_DOWN:
        values = values[::-1]
    if orientation in _MIRRORED:
        values = values[:, ::-1]
    return values


def upright_size(size, orientation):
    """(width, height) of the upright picture that is stored in so many; also the other way."""
    return tuple(size[::-1]) if orientation in _SIDES_SWAPPED else tuple(size)


def stored_box(box, upright, orientation):
    """Where a box of the upright picture lies in the stored one.

    Args:
        box: (left, top, right, bottom) in pixels.
        upright: (width, height) of the upright picture.
        orientation: int.
    """
    left, top, right, bottom = box
    width, height = upright
    if orientation in _MIRRORED:
        left, right = width - right, width - left
    if orientation in _UPSIDE_DOWN:
        top, bottom = height - bottom, height - top
    if orientation in _SIDES_SWAPPED:
        return top, left, bottom, right
    return left, top, right, bottom
