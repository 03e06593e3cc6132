"""A depthwise convolution for JAX: XLA's own, but on CPU a sum of shifted products.

Which of the two is settled when a program is lowered for a device, so that one lowered on a CPU
for another device holds XLA's convolution.

On CPU XLA computes a depthwise convolution one output at a time, and its gradient slower still.
Written as k * k multiply-adds of shifted views, XLA fuses the forward pass and the input's gradient
into one loop each. The kernel's gradient is a scan over rows, whose body adds shifted products
element by element; a plain reduction over all positions is slow again.
"""

import functools


@functools.cache
def depthwise():
    """The function (x (B, H, W, C), kernel (k, k, C, 1)) -> (B, H, W, C), made at first use."""
    import jax

    convolve = jax.custom_vjp(_forward)
    convolve.defvjp(lambda x, kernel: (_forward(x, kernel), (x, kernel)), _backward)
    return jax.jit(convolve)


def _forward(x, kernel):
    import jax

    return jax.lax.platform_dependent(x, kernel, cpu=_shifted, default=_convolution)


def _backward(saved, gradient):
    import jax

    return jax.lax.platform_dependent(
        *saved, gradient, cpu=_shifted_gradients, default=_convolution_gradients
    )


def _convolution(x, kernel):
    import jax

    return jax.lax.conv_general_dilated(
        x,
        kernel.reshape(*kernel.shape[:2], 1, -1),  # one input channel a group
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _convolution_gradients(x, kernel, gradient):
    import jax

    return jax.vjp(_convolution, x, kernel)[1](gradient)


def _shifted(x, kernel):
    import jax.numpy as jnp

    size, height, width = kernel.shape[0], *x.shape[1:3]
    padded, taps = _padded(x, size), kernel[..., 0].astype(jnp.float32)
    total = sum(
        padded[:, row : row + height, column : column + width] * taps[row, column]
        for row in range(size)
        for column in range(size)
    )
    return total.astype(x.dtype)


def _shifted_gradients(x, kernel, gradient):
    import jax
    import jax.numpy as jnp

    size, (batch, height, width, channels) = kernel.shape[0], x.shape
    x_gradient = _shifted(gradient, kernel[::-1, ::-1])

    padded = _padded(x, size)
    # Beside each row of the gradient, the k rows of x that it met: (B * H, k, W + k - 1, C).
    rows = jnp.stack([padded[:, row : row + height] for row in range(size)], axis=2)
    rows = rows.reshape(batch * height, size, width + size - 1, channels)
    row_gradients = gradient.astype(jnp.float32).reshape(batch * height, width, channels)

    def add_row(total, row):
        views, row_gradient = row
        products = [views[:, column : column + width] * row_gradient for column in range(size)]
        return total + jnp.stack(products, axis=1), None  # (k, k, W, C)

    start = jnp.zeros((size, size, width, channels), jnp.float32)
    total, _ = jax.lax.scan(add_row, start, (rows, row_gradients))
    kernel_gradient = total.sum(axis=2)[..., None]  # (k, k, C, 1)
    return x_gradient, kernel_gradient.astype(kernel.dtype)


def _padded(x, size):
    import jax.numpy as jnp

    margin = (size // 2, size // 2)
    return jnp.pad(x.astype(jnp.float32), ((0, 0), margin, margin, (0, 0)))
