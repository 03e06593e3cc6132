"""The stored values that are black and white in the images that a model was trained on."""

import math
import numbers


def checked_pixel_range(pixel_range):
    """(low, high), two numbers; None stays None. Whole numbers become ints.

    Args:
        pixel_range: a pair of finite numbers, low < high.

    Raises:
        ValueError: it is nothing of the kind.
    """
    if pixel_range is None:
        return None
    try:
        low, high = map(_finite, pixel_range)
    except (TypeError, ValueError, OverflowError):
        low = high = 0
    if not low < high:
        raise ValueError(
            "A pixel range is two finite numbers, the value that is black and a larger one that "
            f"is white, such as 0 and 4095. Received: {repr(pixel_range)[:200]}"
        )
    return low, high


def _finite(value):
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"Not a finite number: {value!r}")
    value = float(value)
    return int(value) if value.is_integer() else value
