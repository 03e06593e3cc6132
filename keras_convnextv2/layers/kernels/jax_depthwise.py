"""A depthwise convolution for JAX: XLA's own, but on CPU a sum of shifted products.

Which of the two is settled when a program is lowered for a device, so that one lowered on a CPU
for another device holds XLA's convolution.

On CPU XLA computes a depthwise convolution one output at a time, and its gradient slower still.
Written as k * k multiply-adds of shifted views, the forward pass and the input's gradient become
one loop each. The kernel's gradient is a scan over rows, whose body adds shifted products
element by element, a row of positions long; a plain reduction over all positions is slow again.
"""

import functools

from keras_convnextv2.layers.kernels.shifted_products import pad_for, sum_of_shifted_products


@functools.cache
def operations(method):
    """The convolution and its kernel's gradient, functions made at first use.

    They are (x (B, H, W, C), kernel (k, k, C, 1)) -> (B, H, W, C), and (x, gradient, k) -> the
    gradient of the kernel, float32.

    Args:
        method: "auto", or "shifted" for the CPU's way on every device.
    """
    import jax

    def choose(on_cpu, elsewhere):
        def compute(*tensors):
            return jax.lax.platform_dependent(*tensors, cpu=on_cpu, default=elsewhere)

        return on_cpu if method == "shifted" else compute

    def kernel_gradient(x, gradient, size):
        return choose(
            functools.partial(_shifted_kernel_gradient, size=size),
            functools.partial(_own_kernel_gradient, size=size),
        )(x, gradient)

    convolve = choose(functools.partial(_alone, sum_of_shifted_products), _convolution)
    return jax.jit(convolve), jax.jit(kernel_gradient, static_argnums=2)


def _alone(function, *tensors):
    """`function(*tensors)`, kept apart from what comes before and after.

    XLA would compute a sum of 49 products anew in the loop of everything that uses it, the next
    block's sum too, and what gathers a map in the loop that writes margins around it; such loops
    are not vectorized. It takes nothing out of a conditional whose condition it does not know, and
    this one is always true.
    """
    import jax
    import jax.numpy as jnp

    def nothing(*tensors):
        result = jax.eval_shape(function, *tensors)
        return jnp.zeros(result.shape, result.dtype)

    always = jnp.abs(tensors[-1][0, 0, 0, 0]) != -1
    return jax.lax.cond(always, function, nothing, *tensors)


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


def _own_kernel_gradient(x, gradient, size):
    import jax
    import jax.numpy as jnp

    kernel = jnp.zeros((size, size, x.shape[-1], 1), x.dtype)
    (kernel_gradient,) = jax.vjp(functools.partial(_convolution, x), kernel)[1](gradient)
    return kernel_gradient.astype(jnp.float32)


def _shifted_kernel_gradient(x, gradient, size):
    import jax
    import jax.numpy as jnp

    batch, height, width, channels = x.shape
    if 0 in x.shape:
        return jnp.zeros((size, size, channels, 1), jnp.float32)
    # Fewer passes over the totals, and enough work in a step for XLA to share it between cores.
    rows_at_once = max(rows for rows in range(1, 8) if height % rows == 0)
    padded = _alone(lambda x, _: pad_for(size, x), x, gradient)
    padded = padded.reshape(batch * (height + size - 1), -1)
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
