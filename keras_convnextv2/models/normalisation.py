"""The mean and the standard deviation that a model's images are normalised with."""

import math
import numbers

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""The mean of ImageNet's RGB images in 0..1, which the released weights were trained on.

Examples:
    >>> from keras_convnextv2.data import IMAGENET_MEAN
    >>> IMAGENET_MEAN
    (0.485, 0.456, 0.406)
"""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""The standard deviation of the same images.

Examples:
    >>> from keras_convnextv2.data import IMAGENET_STD
    >>> IMAGENET_STD
    (0.229, 0.224, 0.225)
"""


def checked_normalisation(normalisation, channels=None):
    """(mean, std), two tuples of floats, for images in 0..1; None stays None.

    Args:
        normalisation: a pair of sequences of finite numbers, one a channel; std is positive.
        channels: int, of the images; None takes any number.

    Raises:
        ValueError: it is nothing of the kind.
    """
    if normalisation is None:
        return None
    try:
        mean, std = (tuple(map(_finite, values)) for values in normalisation)
    except (TypeError, ValueError, OverflowError):
        mean, std = (), ()
    if not (len(mean) == len(std) > 0 and min(std) > 0 and channels in (None, len(mean))):
        raise ValueError(
            f"A normalisation must be (mean, std), each {channels or 'with'} finite number(s), one "
            f"a channel, and std positive. Received: {repr(normalisation)[:200]}"
        )
    return mean, std


def _finite(value):
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"Not a finite number: {value!r}")
    return float(value)
