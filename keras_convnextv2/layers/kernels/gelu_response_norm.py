"""GELU followed by GRN, with a gradient that passes over the widened features fewer times.

The widened features, (B, H, W, 4C), are the largest of a block, and reading and writing them is
most of what its elementwise layers cost. Left to itself, differentiation keeps what GELU made and
what GRN squared, and goes over them once for each operation. On JAX and TensorFlow, which make one
loop of what follows each other, here only GELU's input is kept, and the rest is computed again from
it. On torch each operation is a pass, so they are as few as it has, in the features' own dtype.
"""

import functools
import math

import keras

from keras_convnextv2.layers.hidden_positions import zero_where_hidden
from keras_convnextv2.layers.kernels.custom_gradient import custom_gradient, recomputed_after


def gains_from_own_gradient(dtype):
    """Whether `gelu_response_norm` is the faster way for features of this dtype.

    Measured on CPU it is, on each backend. It does not saturate as float16 needs.
    """
    return dtype != "float16"


def gelu_response_norm(x, gamma, beta, epsilon, hidden=None):
    """GRN of GELU (exact) of x, as `GlobalResponseNormalization` computes it.

    Args:
        x: (B, H, W, C).
        gamma, beta: float32 (C,).
        epsilon: float, added to the mean energy.
        hidden: optional (B, h, w), 1 = hidden; as for `GlobalResponseNormalization`.

    Returns:
        (B, H, W, C) in the dtype of `x`. The statistics are computed in float32, and so is the
        rest on JAX and TensorFlow, which have loops of two dtypes.
    """
    on_torch = keras.backend.backend() == "torch"
    forward, gradient = (_torch_forward, _torch_gradient) if on_torch else (_forward, _gradient)
    return custom_gradient(
        functools.partial(forward, epsilon=epsilon, hidden=hidden),
        functools.partial(gradient, epsilon=epsilon, hidden=hidden),
    )(x, gamma, beta)


def norm_over_positions(x, hidden=None):
    """The root of the sum of squares over the visible positions, float32 (B, 1, 1, C)."""
    ops = _array_module()
    squares = ops.square(zero_where_hidden(keras.ops.cast(x, "float32"), hidden))
    energy = ops.sum(squares, axis=(1, 2), keepdims=True)
    # The gradient of a square root is infinite at 0, where an all-zero channel puts it.
    silent = energy == 0.0
    return ops.where(silent, 0.0, ops.sqrt(ops.where(silent, 1.0, energy)))


def _response(norm, epsilon):
    """The norm over its mean over channels plus epsilon, and that divisor."""
    mean = _array_module().mean(norm, axis=-1, keepdims=True) + epsilon
    return norm / mean, mean


def _array_module():
    """`keras.ops`, or torch itself, which has the same functions under the same names.

    On torch, what Keras looks at before each takes longer than most of them on (B, 1, 1, C).
    """
    if keras.backend.backend() != "torch":
        return keras.ops
    import torch

    return torch


def _forward(x, gamma, beta, epsilon, hidden):
    ops = keras.ops
    activated = _gelu(ops.cast(x, "float32"))
    norm = norm_over_positions(activated, hidden)
    gain = 1.0 + gamma * _response(norm, epsilon)[0]
    return ops.cast(activated * gain + beta, x.dtype), (norm,)


def _gradient(upstream, tensors, kept, needed, epsilon, hidden):
    ops = keras.ops
    (x, gamma, _), (norm,) = tensors, kept
    wide_x = ops.cast(recomputed_after(upstream, x), "float32")
    upstream = ops.cast(upstream, "float32")
    normal_cdf = _normal_cdf(wide_x)
    normal_pdf = ops.exp(-0.5 * ops.square(wide_x)) * (1.0 / math.sqrt(2.0 * math.pi))
    activated = wide_x * normal_cdf

    inner = ops.sum(upstream * activated, axis=(1, 2), keepdims=True)
    gain, factor, gamma_gradient = _through_response(inner, gamma, norm, epsilon)
    beta_gradient = ops.sum(upstream, axis=(0, 1, 2))
    activated_gradient = upstream * gain + factor * zero_where_hidden(activated, hidden)
    x_gradient = activated_gradient * (normal_cdf + wide_x * normal_pdf)
    return ops.cast(x_gradient, x.dtype), gamma_gradient, beta_gradient


def _gelu(x):
    if keras.backend.backend() != "jax":  # TensorFlow knows its own after a linear layer, as one
        return keras.ops.gelu(x, approximate=False)
    # `jax.nn.gelu`, by erfc, takes three times as long on a CPU.
    return x * _normal_cdf(x)


def _normal_cdf(x):
    return 0.5 * (1.0 + keras.ops.erf(x * math.sqrt(0.5)))


def _torch_forward(x, gamma, beta, epsilon, hidden):
    import torch

    activated = torch.nn.functional.gelu(x)
    norm = norm_over_positions(activated, hidden)
    gain = 1.0 + gamma * _response(norm, epsilon)[0]
    y = torch.addcmul(beta.to(x.dtype), activated, gain.to(x.dtype))
    return y, (activated, norm)


def _torch_gradient(upstream, tensors, kept, needed, epsilon, hidden):
    import torch

    (x, gamma, _), (activated, norm) = tensors, kept
    inner = _torch_sum(upstream * activated)
    gain, factor, gamma_gradient = _through_response(inner, gamma, norm, epsilon)
    activated_gradient = upstream * gain.to(x.dtype)
    activated_gradient.addcmul_(zero_where_hidden(activated, hidden), factor.to(x.dtype))
    x_gradient = torch.ops.aten.gelu_backward(activated_gradient, x)
    return x_gradient, gamma_gradient, _torch_sum(upstream).sum((0, 1, 2))


def _torch_sum(x):
    """The float32 sum over positions, (B, 1, 1, C).

    torch adds bfloat16 in float32. On a CPU it copies what it is to give the float32 sum of, so
    there each sum is rounded to bfloat16.
    """
    if x.device.type == "cpu":
        return x.sum((1, 2), keepdim=True).float()
    return x.float().sum((1, 2), keepdim=True)


def _through_response(inner, gamma, norm, epsilon):
    """The gain, the factor of GELU's output in the gradient for itself, the gradient for gamma.

    Through response = norm / (mean of norm over channels + epsilon), and norm = |activated|.
    `inner` is the sum of upstream * activated over positions; all but gamma are (B, 1, 1, C).
    """
    ops = _array_module()
    response, mean = _response(norm, epsilon)
    gamma_gradient = ops.sum(inner * response, axis=(0, 1, 2))
    response_gradient = inner * gamma
    norm_gradient = response_gradient / mean - ops.mean(
        response_gradient * norm, axis=-1, keepdims=True
    ) / ops.square(mean)
    silent = norm == 0.0
    factor = ops.where(silent, 0.0, norm_gradient / ops.where(silent, 1.0, norm))
    return 1.0 + gamma * response, factor, gamma_gradient
