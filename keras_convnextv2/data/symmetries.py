"""Flips and quarter turns: what moves pixels and changes none."""

from dataclasses import dataclass

import numpy as np

from keras_convnextv2.data.valid_settings import demand_probability


@dataclass(frozen=True)
class HorizontalFlip:
    """An element transform: flips an image left to right at random.

    Args:
        probability: float, of a flip.

    Raises:
        ValueError: a probability outside 0..1.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.data import HorizontalFlip
        >>> image = np.arange(3, dtype="uint8").reshape(1, 3, 1)
        >>> HorizontalFlip(1.0)(image, np.random.default_rng(0)).ravel().tolist()
        [2, 1, 0]
    """

    probability: float = 0.5

    def __post_init__(self):
        demand_probability("probability", self.probability)

    def __call__(self, image, rng):
        """image: (H, W, C); rng: `numpy.random.Generator`. Returns (H, W, C)."""
        return _flip(image, 1) if rng.random() < self.probability else image


@dataclass(frozen=True)
class VerticalFlip:
    """An element transform: flips an image upside down at random.

    For pictures without an up, such as those of satellites and microscopes.

    Args:
        probability: float, of a flip.

    Raises:
        ValueError: a probability outside 0..1.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.data import VerticalFlip
        >>> image = np.arange(3, dtype="uint8").reshape(3, 1, 1)
        >>> VerticalFlip(1.0)(image, np.random.default_rng(0)).ravel().tolist()
        [2, 1, 0]
    """

    probability: float = 0.5

    def __post_init__(self):
        demand_probability("probability", self.probability)

    def __call__(self, image, rng):
        """image: (H, W, C); rng: `numpy.random.Generator`. Returns (H, W, C)."""
        return _flip(image, 0) if rng.random() < self.probability else image


@dataclass(frozen=True)
class QuarterTurns:
    """An element transform: turns a square image by 0, 90, 180 or 270 degrees, each as likely.

    For pictures without an up. With a flip it gives all eight symmetries of the square.

    Raises:
        ValueError: by the call, for an image that is not square.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.data import QuarterTurns
        >>> image = np.arange(4, dtype="uint8").reshape(2, 2, 1)
        >>> turned = [QuarterTurns()(image, np.random.default_rng(seed)) for seed in range(20)]
        >>> len({image.tobytes() for image in turned})
        4
    """

    def __call__(self, image, rng):
        """image: (S, S, C); rng: `numpy.random.Generator`. Returns (S, S, C)."""
        height, width = image.shape[:2]
        if height != width:
            raise ValueError(
                "Quarter turns need square images, since they exchange height and width. "
                f"Received: {height}x{width}"
            )
        return np.ascontiguousarray(np.rot90(image, int(rng.integers(4))))


def _flip(image, axis):
    return np.ascontiguousarray(np.flip(image, axis))
