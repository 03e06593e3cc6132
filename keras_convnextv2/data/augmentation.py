"""Random changes of one uint8 image, made with numpy before it reaches the backend."""

import numpy as np


def flip_and_shift(image, rng, max_shift):
    """Flips an image left to right at random and shifts it by whole pixels.

    Args:
        image: uint8 (H, W, C).
        rng: `numpy.random.Generator`.
        max_shift: int, the most pixels that the image moves down, up, right or left; both
            directions are drawn. What moves in is 0.

    Returns:
        uint8 (H, W, C), a new array.

    Raises:
        ValueError: a negative `max_shift`.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.data import flip_and_shift
        >>> image = np.arange(48, dtype="uint8").reshape(4, 4, 3)
        >>> changed = flip_and_shift(image, np.random.default_rng(0), max_shift=0)
        >>> np.array_equal(changed, image) or np.array_equal(changed, image[:, ::-1])
        True
    """
    if max_shift < 0:
        raise ValueError(f"`max_shift` must be 0 or more. Received: {max_shift!r}")
    flipped = rng.random() < 0.5
    down, right = rng.integers(-max_shift, max_shift + 1, size=2)
    height, width, _ = image.shape
    # Where each output row and column comes from, in an image with a margin of zeros.
    top = max_shift - down
    columns = np.arange(width) + max_shift - right
    if flipped:
        columns = width - 1 + 2 * max_shift - columns
    if max_shift:
        margin = (max_shift, max_shift)
        image = np.pad(image, (margin, margin, (0, 0)))
    return image[top : top + height].take(columns, axis=1)
