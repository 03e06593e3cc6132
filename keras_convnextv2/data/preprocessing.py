"""From uint8 pixels to the normalised floats that a model takes."""

import numpy as np

from keras_convnextv2.models.normalisation import IMAGENET_MEAN, IMAGENET_STD


def preprocess(images, mean=IMAGENET_MEAN, std=IMAGENET_STD):
    """Normalises images: (images / 255 - mean) / std, a channel.

    Args:
        images: uint8 (..., H, W, C).
        mean: C floats, for images in 0..1.
        std: C floats, for images in 0..1.

    Returns:
        float32 (..., H, W, C).

    Raises:
        ValueError: images that are not uint8, or another number of channels.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> grey = np.full((2, 32, 32, 1), 51, "uint8")
        >>> images = kc.preprocess(grey, mean=[0.5], std=[0.25])
        >>> images.dtype.name, round(float(images[0, 0, 0, 0]), 4)
        ('float32', -1.2)
    """
    images = np.asarray(images)
    if images.dtype != "uint8":
        raise ValueError(
            f"`preprocess` takes uint8 images in 0..255. Received: {images.dtype}. Floats are "
            "taken as already normalised: give them to the model as they are."
        )
    if images.ndim < 3 or not images.shape[-1] == len(mean) == len(std):
        raise ValueError(
            f"`images` must be (..., H, W, C) with one mean and one std a channel. Received: "
            f"shape {images.shape}, {len(mean)} means, {len(std)} stds"
        )
    normalised = np.empty(images.shape, "float32")
    normalise_into(normalised, images, mean, std)
    return normalised


def normalise_into(normalised, images, mean, std):
    """As `preprocess`, unchecked, into a float32 array of the same shape, contiguous."""
    mean, std = np.asarray(mean, "float64"), np.asarray(std, "float64")
    *_, width, channels = images.shape
    # (..., H, W * C): NumPy is ten times slower where the last axis is as short as C.
    rows = normalised.reshape(*images.shape[:-2], width * channels)
    scale = np.tile((1 / (255 * std)).astype("float32"), width)
    np.multiply(images.reshape(rows.shape), scale, out=rows)
    rows -= np.tile((mean / std).astype("float32"), width)
