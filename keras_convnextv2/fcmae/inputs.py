"""What pretraining with masks takes, and what it says of what it cannot take."""

import keras
import numpy as np

from keras_convnextv2.models import ConvNeXtV2Backbone

NO_SAMPLE_WEIGHTS = "This model takes no sample weights: its loss is a mean over hidden patches."


def check_arguments(backbone, encoder_path, masking, seed):
    """Raises a ValueError for arguments of `FCMAE` that it cannot have."""
    if not isinstance(backbone, ConvNeXtV2Backbone):
        raise ValueError(f"`backbone` must be a ConvNeXtV2Backbone. Received: {backbone!r}")
    for name, value, known in (
        ("encoder_path", encoder_path, ("visible", "dense")),
        ("masking", masking, ("sparse", "input")),
    ):
        if value not in known:
            raise ValueError(
                f"`{name}` must be {' or '.join(map(repr, known))}. Received: {value!r}"
            )
    if masking == "input" and encoder_path != "dense":
        raise ValueError(
            "With masking='input' the encoder computes whole maps: give encoder_path='dense'. "
            f"Received: {encoder_path!r}"
        )
    if not isinstance(seed, int):
        raise ValueError(f"`seed` must be an int. Received: {seed!r}")


def checked_images(images, image_shape):
    """The images as a tensor, if they are float and of the backbone's shape."""
    images = keras.ops.convert_to_tensor(images)
    dtype = keras.backend.standardize_dtype(images.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise ValueError(
            f"Images must be float and normalised. Received dtype {dtype}: for uint8 images "
            "see keras_convnextv2.preprocess."
        )
    if tuple(images.shape[1:]) != image_shape:
        raise ValueError(
            f"This model takes batches of images of shape {image_shape}. "
            f"Received a batch of shape {tuple(images.shape)}."
        )
    return images


def checked_hidden(hidden, grid):
    """The masks as int32 of 0 and 1 = hidden, if they are (B, h, w) of the grid (h, w).

    What is not 0 is hidden, so that images of masks, of 0 and 255, are masks too.
    NumPy arrays stay so: inside a compiled function too, their values can be looked at.
    """
    if isinstance(hidden, (np.ndarray, list)):
        hidden = (np.asarray(hidden) != 0).astype("int32")
    else:
        hidden = keras.ops.cast(keras.ops.not_equal(hidden, 0), "int32")
    if len(hidden.shape) != 3 or tuple(hidden.shape[1:]) != grid:
        raise ValueError(
            f"`hidden` must have shape (batch, {grid[0]}, {grid[1]}), one value a "
            f"patch, 1 = hidden. Received shape {tuple(hidden.shape)}."
        )
    return hidden


def patch_grid(backbone, patch_size):
    """(h, w), the patches of the images of `backbone`, whose sides must be known and fit."""
    height, width, _ = backbone.image_shape
    stride = backbone.total_stride
    if not isinstance(patch_size, int) or patch_size < 1 or patch_size % stride:
        raise ValueError(
            f"`patch_size` must be a multiple of the backbone's total stride, {stride} pixels. "
            f"Received: {patch_size!r}"
        )
    if height is None or width is None:
        raise ValueError(
            "Masks need a backbone of known image height and width, such as image_shape=(224, "
            f"224, 3). Received: image_shape={backbone.image_shape}"
        )
    if height % patch_size or width % patch_size:
        unit = "total stride" if patch_size == stride else "patch size"
        raise ValueError(
            f"Masks need image sides that are multiples of the {unit}, {patch_size} pixels. "
            f"Received: image_shape={backbone.image_shape}. The nearest size is "
            f"{_nearest(height, patch_size)} x {_nearest(width, patch_size)}."
        )
    return height // patch_size, width // patch_size


def _nearest(size, patch_size):
    return max(round(size / patch_size), 1) * patch_size


def pixels_of_a_position(prediction, image_shape):
    """S, of a decoder's prediction (B, H / S, W / S, S * S * C) for images (H, W, C)."""
    height, width, channels = image_shape
    rows, columns, values = prediction.shape[1:]
    side = height // rows
    if (rows * side, columns * side, side * side * channels) != (height, width, values):
        raise ValueError(
            "A decoder must give (B, H / S, W / S, S * S * C), for each position its square of "
            f"pixels. Received shape {tuple(prediction.shape)} for images of shape {image_shape}."
        )
    return side


def split_dict(images):
    """Images and masks (or None) of a dict."""
    unknown = set(images) - {"images", "hidden"}
    if unknown or "images" not in images:
        raise ValueError(
            'A dict of images and masks must hold "images" and may hold "hidden". '
            f"Received keys: {sorted(images)}"
        )
    return images["images"], images.get("hidden")


def unpack(data):
    """Images and masks (or None) of a batch as Keras passes it; labels are ignored."""
    x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if sample_weight is not None:
        raise ValueError(NO_SAMPLE_WEIGHTS)
    return split_dict(x) if isinstance(x, dict) else (x, None)
