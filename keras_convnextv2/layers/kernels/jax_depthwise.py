"""A depthwise convolution for JAX: XLA's own, but on CPU a sum of shifted products.

Which of the two is settled when a program is lowered for a device, so that one lowered on a CPU
for another device holds XLA's convolution.

On CPU XLA computes a depthwise convolution one output at a time, and its gradient slower still.
Written as k * k multiply-adds of shifted views, XLA fuses the forward pass and the input's gradient
into one loop each. The kernel's gradient is a scan over rows, whose body adds shifted products
element by element, a row of positions long; a plain reduction over all positions is slow again.
"""

import functools

from keras_convnextv2.layers.kernels.shifted_products import pad_for, sum_of_shifted_products


@functools.cache
def depthwise(method):
    """The function (x (B, H, W, C), kernel (k, k, C, 1)) -> (B, H, W, C), made at first use.

    Args:
        method: "auto", or "shifted" for the CPU's way on every device.
    """
    import jax

    def forward(x, kernel):
        if method == "shifted":
            return sum_of_shifted_products(x, kernel)
        return jax.lax.platform_dependent(
            x, kernel, cpu=sum_of_shifted_products, default=_convolution
        )

    def backward(saved, gradient):
        if method == "shifted":
            return _shifted_gradients(*saved, gradient)
        return jax.lax.platform_dependent(
            *saved, gradient, cpu=_shifted_gradients, default=_convolution_gradients
        )

    convolve = jax.custom_vjp(forward)
    convolve.defvjp(lambda x, kernel: (forward(x, kernel), (x, kernel)), backward)
    return jax.jit(convolve)


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


def _shifted_gradients(x, kernel, gradient):
    return (
        sum_of_shifted_products(gradient, kernel[::-1, ::-1]),
        _kernel_gradient(x, gradient, kernel.shape[0]).astype(kernel.dtype),
    )


def _kernel_gradient(x, gradient, size):
    import jax
    import jax.numpy as jnp

    batch, height, width, channels = x.shape
    rows_at_once = 2 if height % 2 == 0 else 1  # halves the traffic over the totals
    padded = pad_for(size, x).reshape(batch * (height + size - 1), -1)
    gradient = gradient.astype(jnp.float32).reshape(batch * height, -1)

    def add_rows(totals, first):
        image, row = first // height, first % height
        for next_row in range(rows_at_once):
            # The rows of x that met this row of the gradient: (k, (W + k - 1) * C).
            start = image * (height + size - 1) + row + next_row
            met = jax.lax.dynamic_slice(padded, (start, 0), (size, padded.shape[1]))
            met_by = gradient[first + next_row]
            totals = [
                total + met[:, column * channels : (column + width) * channels] * met_by
                for column, total in enumerate(totals)
            ]
        return totals, None

    # A total for each column of the kernel: one array of them all would have to be concatenated,
    # which XLA does not vectorize.
    zero = jnp.zeros((size, width * channels), jnp.float32)
    firsts = jnp.arange(0, batch * height, rows_at_once)
    totals, _ = jax.lax.scan(add_rows, [zero] * size, firsts)
    columns = [total.reshape(size, width, channels).sum(axis=1) for total in totals]
    return jnp.stack(columns, axis=1)[..., None]  # (k, k, C, 1)
