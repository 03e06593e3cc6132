"""Moving an image by whole pixels."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RandomShift:
    """An element transform: moves an image by whole pixels; what moves in is 0.

    For images that fill their size already, as those of Fashion-MNIST, where a random resized crop
    would be too much.

    Args:
        max_shift: int, the most pixels that it moves down, up, right or left; each number of
            pixels is as likely.

    Raises:
        ValueError: a shift below 0.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.data import RandomShift
        >>> moved = RandomShift(2)(np.ones((8, 8, 1), "uint8"), np.random.default_rng(0))
        >>> moved.shape, 36 <= moved.sum() <= 64
        ((8, 8, 1), np.True_)
    """

    max_shift: int

    def __post_init__(self):
        if self.max_shift < 0 or self.max_shift != int(self.max_shift):
            raise ValueError(
                f"`max_shift` must be whole pixels, 0 or more. Received: {self.max_shift!r}"
            )

    def __call__(self, image, rng):
        """image: (H, W, C); rng: `numpy.random.Generator`. Returns (H, W, C)."""
        height, width = image.shape[:2]
        margin = int(self.max_shift)
        top, left = rng.integers(2 * margin + 1, size=2)
        padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)))
        return np.ascontiguousarray(padded[top : top + height, left : left + width])
