"""Keras layers that work on each position alone, computed the faster way where there is one.

Call these inside a layer's `call`, which sets the dtype that weights are read in.
"""

import keras

from keras_convnextv2.layers import kernels


def at_each_position(linear, x):
    """Applies a Dense layer to (B, H, W, C) as to a matrix.

    The same product, but its gradient for the kernel too is then one of two matrices: given four
    axes, XLA on CPU transposes them first.
    """
    ops = keras.ops
    shape = ops.shape(x)
    x = kernels.reshape(x, (-1, x.shape[-1]))
    dtype = keras.backend.standardize_dtype(x.dtype)
    is_plain = (
        linear.quantization_mode is None
        and linear.use_bias
        and linear.activation is keras.activations.linear
        and linear.compute_dtype == dtype
    )
    if is_plain and kernels.gains_from_own_linear(dtype):
        y = kernels.linear(x, *map(ops.convert_to_tensor, (linear.kernel, linear.bias)))
    else:
        y = linear(x)
    return kernels.reshape(y, (*shape[:-1], y.shape[-1]))


def normalized(norm, x):
    """Applies a LayerNormalization over channels, with a scale and a shift, to (B, H, W, C)."""
    is_plain = norm.compute_dtype == keras.backend.standardize_dtype(x.dtype)
    if is_plain and kernels.gains_from_own_layer_norm(x):
        weights = map(keras.ops.convert_to_tensor, (norm.gamma, norm.beta))
        return kernels.layer_norm(x, *weights, norm.epsilon)
    return norm(x)
