"""Between images and their patches."""

import keras


def patchify(images, patch_size):
    """Cuts images into square patches, each a vector of its pixels by (row, column, channel).

    Args:
        images: (B, H, W, C), H and W multiples of P.
        patch_size: int P, in pixels.

    Returns:
        (B, H // P, W // P, P * P * C).
    """
    height, width, channels = images.shape[1:]
    rows, columns = height // patch_size, width // patch_size
    x = keras.ops.reshape(images, (-1, rows, patch_size, columns, patch_size, channels))
    x = keras.ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (B, h, w, P, P, C)
    return keras.ops.reshape(x, (-1, rows, columns, patch_size * patch_size * channels))


def unpatchify(patches, patch_size):
    """The inverse of `patchify`.

    Args:
        patches: (B, h, w, P * P * C).
        patch_size: int P, in pixels.

    Returns:
        (B, h * P, w * P, C).
    """
    rows, columns, values = patches.shape[1:]
    channels = values // patch_size**2
    x = keras.ops.reshape(patches, (-1, rows, columns, patch_size, patch_size, channels))
    x = keras.ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (B, h, P, w, P, C)
    return keras.ops.reshape(x, (-1, rows * patch_size, columns * patch_size, channels))
