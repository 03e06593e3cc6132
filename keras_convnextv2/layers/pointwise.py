"""Keras layers that work on each position alone, computed by `ops`.

Call these inside a layer's `call`, which sets the dtype that weights are read in.
"""

import keras

from keras_convnextv2.layers import ops


def at_each_position(linear, x):
    """Applies a Dense layer to features (B, H, W, C)."""
    is_plain = (
        linear.quantization_mode is None
        and linear.use_bias
        and linear.activation is keras.activations.linear
        and linear.compute_dtype == keras.backend.standardize_dtype(x.dtype)
    )
    if not is_plain:
        return linear(x)
    return ops.linear(x, *map(keras.ops.convert_to_tensor, (linear.kernel, linear.bias)))


def normalized(norm, x):
    """Applies a LayerNormalization over channels, with a scale and a shift, to (B, H, W, C)."""
    if norm.compute_dtype != keras.backend.standardize_dtype(x.dtype):
        return norm(x)
    return ops.layer_norm(
        x, *map(keras.ops.convert_to_tensor, (norm.gamma, norm.beta)), norm.epsilon
    )
