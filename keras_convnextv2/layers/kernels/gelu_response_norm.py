"""GELU followed by GRN, with a gradient that passes over the widened features fewer times.

The widened features, (B, H, W, 4C), are the largest of a block, and reading and writing them is
most of what its elementwise layers cost. Left to itself, differentiation keeps what GELU made and
what GRN squared, and goes over them once for each operation. On JAX and TensorFlow, which make one
loop of what follows each other, here only GELU's input is kept, and the rest is computed again from
it. On torch each operation is a pass, so they are as few as it has, in the features' own dtype.
"""

import math

import keras

from keras_convnextv2.layers.hidden_positions import zero_where_hidden
from keras_convnextv2.layers.kernels.custom_gradient import custom_gradient


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
        (B, H, W, C) in the dtype of `x`; computed in float32, but for GELU and the last product
        and sum on torch, which has no such loops of two dtypes.
    """
    if keras.backend.backend() == "torch":
        return _torch(x, gamma, beta, epsilon, hidden)
    ops = keras.ops

    @custom_gradient
    def forward(x, gamma, beta):
        activated = ops.gelu(ops.cast(x, "float32"), approximate=False)
        norm = norm_over_positions(activated, hidden)
        mean = ops.mean(norm, axis=-1, keepdims=True) + epsilon
        gain = 1.0 + gamma * (norm / mean)
        y = ops.cast(activated * gain + beta, x.dtype)

        def gradient(upstream):
            return _gradients(x, gamma, norm, mean, hidden, ops.cast(upstream, "float32"))

        return y, gradient

    return forward(x, gamma, beta)


def norm_over_positions(x, hidden=None):
    """The root of the sum of squares over the visible positions, float32 (B, 1, 1, C)."""
    ops = keras.ops
    squares = ops.square(zero_where_hidden(ops.cast(x, "float32"), hidden))
    energy = ops.sum(squares, axis=(1, 2), keepdims=True)
    # The gradient of a square root is infinite at 0, where an all-zero channel puts it.
    silent = ops.equal(energy, 0.0)
    return ops.where(silent, 0.0, ops.sqrt(ops.where(silent, 1.0, energy)))


def _gradients(x, gamma, norm, mean, hidden, upstream):
    ops = keras.ops
    wide_x = ops.cast(x, "float32")
    normal_cdf = 0.5 * (1.0 + ops.erf(wide_x * math.sqrt(0.5)))
    normal_pdf = ops.exp(-0.5 * ops.square(wide_x)) * (1.0 / math.sqrt(2.0 * math.pi))
    activated = wide_x * normal_cdf

    along = ops.sum(upstream * activated, axis=(1, 2), keepdims=True)
    gamma_gradient, pull = _through_response(along, gamma, norm, mean)
    beta_gradient = ops.sum(upstream, axis=(0, 1, 2))
    gain = 1.0 + gamma * (norm / mean)
    activated_gradient = upstream * gain + pull * zero_where_hidden(activated, hidden)
    x_gradient = activated_gradient * (normal_cdf + wide_x * normal_pdf)
    return ops.cast(x_gradient, x.dtype), gamma_gradient, beta_gradient


def _through_response(along, gamma, norm, mean):
    """The gradient for gamma, and the factor of `activated` in the gradient for itself.

    Through response = norm / (mean of norm over channels + epsilon), and norm = |activated|.
    `along` is the sum of upstream * activated over positions; all but gamma are (B, 1, 1, C).
    """
    ops = keras.ops
    gamma_gradient = ops.sum(along * (norm / mean), axis=(0, 1, 2))
    response_gradient = along * gamma
    norm_gradient = response_gradient / mean - ops.mean(
        response_gradient * norm, axis=-1, keepdims=True
    ) / ops.square(mean)
    silent = ops.equal(norm, 0.0)
    return gamma_gradient, ops.where(silent, 0.0, norm_gradient / ops.where(silent, 1.0, norm))


def _torch(x, gamma, beta, epsilon, hidden):
    import torch

    positions = (0, 1, 2)

    @custom_gradient
    def forward(x, gamma, beta):
        activated = torch.nn.functional.gelu(x)
        norm = norm_over_positions(activated, hidden)
        mean = norm.mean(-1, keepdim=True) + epsilon
        gain = (1.0 + gamma * (norm / mean)).to(x.dtype)
        y = torch.addcmul(beta.to(x.dtype), activated, gain)

        def gradient(upstream):
            along = (upstream * activated).sum((1, 2), keepdim=True, dtype=torch.float32)
            gamma_gradient, pull = _through_response(along, gamma, norm, mean)
            activated_gradient = upstream * gain
            activated_gradient.addcmul_(zero_where_hidden(activated, hidden), pull.to(x.dtype))
            return (
                torch.ops.aten.gelu_backward(activated_gradient, x),
                gamma_gradient,
                upstream.sum(positions, dtype=torch.float32),
            )

        return y, gradient

    return forward(x, gamma, beta)
