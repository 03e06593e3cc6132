"""Pillow's operations on images of any number of channels."""

import numpy as np

COLOUR_CHANNELS = 3  # red, green, blue


def with_pillow(image, operation, fill=None):
    """Applies an operation of Pillow images to an array.

    Three channels are one RGB image. Any other number are as many grey images, each by itself.

    Args:
        image: uint8 (H, W, C).
        operation: function of (`PIL.Image.Image`, fill) that returns one of the same size and mode.
        fill: optional C ints of 0..255, for `operation`: it gets a tuple of three for RGB, the
            channel's int for grey, or None.

    Returns:
        uint8 (H, W, C), a new array.

    Raises:
        ImportError: Pillow is not installed; names the extra that brings it.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "RandAugment and colour jitter change images by Pillow, which cannot be imported "
            f"({error}). Install it: pip install 'keras-convnextv2[recipes]'"
        ) from error

    if image.shape[-1] == COLOUR_CHANNELS:
        filled = None if fill is None else tuple(fill)
        return np.array(operation(Image.fromarray(np.ascontiguousarray(image)), filled))
    channels = [
        operation(
            Image.fromarray(np.ascontiguousarray(image[..., channel])),
            None if fill is None else fill[channel],
        )
        for channel in range(image.shape[-1])
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def demand_colours(what, channels):
    """Raises ValueError where something that mixes red, green and blue has not these to mix.

    Args:
        what: str, its name and how to do without, as "`hue` (give 0)".
        channels: int.
    """
    if channels != COLOUR_CHANNELS:
        raise ValueError(
            f"{what} has a meaning for red, green and blue alone. "
            f"Received: images of {channels} channels"
        )
