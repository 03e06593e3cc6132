"""The linear layer on matrices, for torch and, of bfloat16, for JAX."""

import functools

import keras

from keras_convnextv2.layers.kernels.custom_gradient import custom_gradient


def gains_from_own_linear(dtype):
    """Whether `linear` is the faster way for matrices of this dtype.

    On torch, whose product adds the bias at once. On JAX for bfloat16: a product of two such
    matrices that is to be bfloat16 itself, XLA on a CPU computes in float32 from widened copies;
    one that is to be float32 goes to the processor's own instructions for bfloat16.
    """
    backend = keras.backend.backend()
    return backend == "torch" or (backend == "jax" and dtype == "bfloat16")


def linear(x, kernel, bias):
    """x @ kernel + bias, with sums in float32, rounded once.

    Args:
        x: (N, C).
        kernel, bias: (C, D) and (D,), in the dtype of `x`.

    Returns:
        (N, D) in the dtype of `x`.
    """
    if keras.backend.backend() == "torch":
        import torch

        return torch.addmm(bias, x, kernel)
    ops = keras.ops

    def forward(x, kernel, bias):
        return ops.cast(product(x, kernel, (1, 0)) + ops.cast(bias, "float32"), x.dtype), ()

    def gradient(upstream, tensors, *_):
        x, kernel, bias = tensors
        return (
            ops.cast(product(upstream, kernel, (1, 1)), x.dtype),
            ops.cast(product_over_rows(x, upstream), kernel.dtype),
            ops.cast(ops.sum(ops.cast(upstream, "float32"), axis=0), bias.dtype),
        )

    return custom_gradient(forward, gradient)(x, kernel, bias)


def product(x, y, axes):
    """The float32 product of two matrices, over an axis of each."""
    import jax

    contracted = ((axes[:1], axes[1:]), ((), ()))
    return jax.lax.dot_general(x, y, contracted, preferred_element_type="float32")


def product_over_rows(x, y):
    """x.T @ y, float32, for matrices of many rows."""
    import jax

    plain = functools.partial(product, axes=(0, 0))
    if len(jax.devices()) > 1:  # the rows may be spread over them
        return plain(x, y)
    return jax.lax.platform_dependent(x, y, cpu=_product_on_cpu, default=plain)


def _product_on_cpu(x, y):
    """The processor's instructions want the first matrix with its rows in order. To turn it costs
    least for the narrower one. XLA must not take the turning into the product, where it would be
    a matter of which index comes first: as one axis a matrix has an order of its own.
    """
    import jax

    if x.shape[1] > y.shape[1]:
        return jax.lax.optimization_barrier(_product_on_cpu(y, x)).T
    turned = jax.lax.optimization_barrier(x.T.reshape(-1)).reshape(x.shape[::-1])
    return product(turned, y, (1, 0))
