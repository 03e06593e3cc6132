"""What latent prediction pays for, and how collapse shows."""

import math

import keras

from keras_convnextv2.fcmae.loss import sums_over_hidden
from keras_convnextv2.layers import batch_part

_SHORTEST = 1e-6  # no shorter vector is brought to length 1


def on_unit_sphere(x):
    """Vectors x / |x| over channels: (..., C), float32; near 0 they stay short."""
    x = keras.ops.cast(x, "float32")
    squares = keras.ops.sum(keras.ops.square(x), axis=-1, keepdims=True)
    return x * keras.ops.rsqrt(keras.ops.maximum(squares, _SHORTEST**2))


def hidden_cell_loss(prediction, target, hidden):
    """Smooth L1, summed over channels, averaged over the hidden cells of the batch.

        d^2 / 2 where |d| < 1, else |d| - 1 / 2

    Of vectors of length 1 it is 1 - their cosine, as long as no channel differs by more than 1.
    Source: CNN-JEPA (arXiv 2408.07514).

    Args:
        prediction: (B, h, w, C).
        target: (B, h, w, C).
        hidden: (B, h, w), 1 = hidden.

    Returns:
        Scalar, float32; 0 if nothing is hidden.
    """
    errors, counts = hidden_cell_errors(prediction, target, hidden)
    return keras.ops.sum(errors) / keras.ops.maximum(keras.ops.sum(counts), 1.0)


def hidden_cell_errors(prediction, target, hidden):
    """What `hidden_cell_loss` averages, by image: (sums, numbers of cells), (B,), float32."""
    ops = keras.ops
    distance = ops.abs(ops.cast(prediction, "float32") - ops.cast(target, "float32"))
    near = ops.minimum(distance, 1.0)
    per_cell = ops.sum(0.5 * ops.square(near) + (distance - near), axis=-1)  # (B, h, w)
    return sums_over_hidden(per_cell, hidden)


def deviation_over_images(target):
    r"""How far the features of different images point apart: near 1 is all ways, 0 is collapsed.

        sqrt(C) * mean over cells and channels of std over images

    Over images at each cell, so that features which tell the place alone count as collapsed. Of one
    image it is 0, and of a few it is smaller than of many, by about 1 / (2 B). Source: SimSiam
    (arXiv 2011.10566), section 4.1.

    Args:
        target: (B, h, w, C), vectors of length 1, float32.

    Returns:
        Scalar, float32.
    """
    part = batch_part.current()
    if part is None:
        deviation = keras.ops.std(target, axis=0)  # (h, w, C)
    else:  # of all parts of the batch
        offsets = target - part.mean(keras.ops.mean(target, axis=0))
        deviation = keras.ops.sqrt(part.mean(keras.ops.mean(keras.ops.square(offsets), axis=0)))
    return math.sqrt(target.shape[-1]) * keras.ops.mean(deviation)
