"""Random changes of uint8 images, made with numpy before they reach the backend."""

import numpy as np


def flip_and_shift(images, generator, max_shift):
    """Flips each image left to right at random and shifts it by whole pixels.

    Args:
        images: uint8 (n, H, W, C).
        generator: `numpy.random.Generator`.
        max_shift: int, the most pixels that an image moves down, up, right or left; each image
            draws both directions for itself. What moves in is 0.

    Returns:
        uint8 (n, H, W, C), a new array.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.data import flip_and_shift
        >>> images = np.ones((2, 8, 8, 3), "uint8")
        >>> flip_and_shift(images, np.random.default_rng(0), max_shift=0).sum() == images.sum()
        np.True_
    """
    if max_shift < 0:
        raise ValueError(f"`max_shift` must be 0 or more. Received: {max_shift!r}")
    num_images, height, width, _ = images.shape
    flipped = generator.random(num_images) < 0.5
    down, right = generator.integers(-max_shift, max_shift + 1, size=(2, num_images))
    # Where each output pixel comes from: rows (n, H), columns (n, W), in a zero-padded image.
    rows = np.arange(height) + max_shift - down[:, None]
    columns = np.arange(width) + max_shift - right[:, None]
    mirrored = width - 1 + 2 * max_shift - columns
    columns = np.where(flipped[:, None], mirrored, columns)
    margin = (max_shift, max_shift)
    padded = np.pad(images, ((0, 0), margin, margin, (0, 0)))
    image = np.arange(num_images)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]]
