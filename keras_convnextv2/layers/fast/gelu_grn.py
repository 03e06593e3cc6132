"""GELU followed by GRN, with a gradient that passes over the widened features fewer times.

The widened features, (B, H, W, 4C), are the largest of a block, and reading and writing them is
most of what its elementwise layers cost. Left to itself, differentiation keeps what GELU made and
what GRN squared, and goes over them once for each operation. On JAX and TensorFlow, which make one
loop of what follows each other, here only GELU's input is kept, and the rest is computed again from
it. On torch (`fast/torch.py`) each operation is a pass, so they are as few as it has.
"""

import functools
import math

import keras

from keras_convnextv2.layers.fast.custom_gradient import custom_gradient, recomputed_after
from keras_convnextv2.layers.grn_formula import guarded_root, response


def recomputing(gelu, x, gamma, beta, epsilon, region):
    """As `ops.gelu_grn`, computed in float32; `gelu` is the exact GELU as a backend has it."""
    return custom_gradient(
        functools.partial(_forward, gelu, epsilon=epsilon, region=region),
        functools.partial(_gradient, epsilon=epsilon, region=region),
    )(x, gamma, beta)


def normal_cdf(x):
    """The normal distribution function: GELU is x * normal_cdf(x)."""
    return 0.5 * (1.0 + keras.ops.erf(x * math.sqrt(0.5)))


def through_response(numpy, inner, gamma, norm, epsilon):
    """The gradient through response = norm / (mean of norm over channels + epsilon).

    Args:
        numpy: `keras.ops` or torch.
        inner: the sum over positions of upstream * activated, (B, 1, 1, C).
        gamma: (C,).
        norm: the root of the sum of squares of `activated`, (B, 1, 1, C).
        epsilon: float.

    Returns:
        The gain 1 + gamma * response, what `activated` is multiplied by in its own gradient beside
        upstream * gain, and the gradient for gamma.
    """
    scaled, divisor = response(numpy, norm, epsilon)
    gamma_gradient = numpy.sum(inner * scaled, axis=(0, 1, 2))
    response_gradient = inner * gamma
    norm_gradient = response_gradient / divisor - numpy.mean(
        response_gradient * norm, axis=-1, keepdims=True
    ) / numpy.square(divisor)
    silent = norm == 0.0
    factor = numpy.where(silent, 0.0, norm_gradient / numpy.where(silent, 1.0, norm))
    return 1.0 + gamma * scaled, factor, gamma_gradient


def _forward(gelu, x, gamma, beta, epsilon, region):
    ops = keras.ops
    activated = gelu(ops.cast(x, "float32"))
    energy = ops.sum(ops.square(region.clean(activated)), axis=(1, 2), keepdims=True)
    norm = guarded_root(ops, energy)
    gain = 1.0 + gamma * response(ops, norm, epsilon)[0]
    return ops.cast(activated * gain + beta, x.dtype), (norm,)


def _gradient(upstream, tensors, kept, _, epsilon, region):
    ops = keras.ops
    (x, gamma, _), (norm,) = tensors, kept
    wide_x = ops.cast(recomputed_after(upstream, x), "float32")
    upstream = ops.cast(upstream, "float32")
    cdf = normal_cdf(wide_x)
    pdf = ops.exp(-0.5 * ops.square(wide_x)) * (1.0 / math.sqrt(2.0 * math.pi))
    activated = wide_x * cdf

    inner = ops.sum(upstream * activated, axis=(1, 2), keepdims=True)
    gain, factor, gamma_gradient = through_response(ops, inner, gamma, norm, epsilon)
    beta_gradient = ops.sum(upstream, axis=(0, 1, 2))
    activated_gradient = upstream * gain + factor * region.clean(activated)
    x_gradient = activated_gradient * (cdf + wide_x * pdf)
    return ops.cast(x_gradient, x.dtype), gamma_gradient, beta_gradient
