"""A depthwise convolution for JAX: XLA's own, but on CPU a sum of shifted products.

Which of the two is settled when a program is lowered for a device, so that one lowered on a CPU
for another device holds XLA's convolution.

On CPU XLA computes a depthwise convolution one output at a time, and its gradient slower still.
Written as k * k multiply-adds of shifted views, the forward pass and the input's gradient become
one loop each. The kernel's gradient is a scan over rows, whose body adds shifted products
element by element, a row of positions long; a plain reduction over all positions is slow again.
Windows are so small that several of them make such a row.
"""

import functools

from keras_convnextv2.layers.kernels.devices import on_cpu_or_not
from keras_convnextv2.layers.kernels.jax_order import unknown_false
from keras_convnextv2.layers.kernels.shifted_products import pad_for, sum_of_shifted_products

# Positions in a row of windows side by side, about: enough for a loop that XLA vectorizes.
_LONG_ROW = 32


@functools.cache
def operations(method):
    """The convolution and its kernel's gradient, functions made at first use.

    They are (x (B, H, W, C), kernel (k, k, C, 1)) -> (B, H, W, C), and (x, gradient, k) -> the
    gradient of the kernel, float32.

    Args:
        method: "auto", or "shifted" for the CPU's way on every device.
    """
    import jax

    choose = _as_on_cpu if method == "shifted" else on_cpu_or_not
    convolve = choose(functools.partial(_alone, sum_of_shifted_products), _convolution)

    def kernel_gradient(x, gradient, size):
        return choose(
            functools.partial(_shifted_kernel_gradient, size=size),
            functools.partial(_own_kernel_gradient, size=size),
        )(x, gradient)

    return jax.jit(convolve), jax.jit(kernel_gradient, static_argnums=2)


@functools.cache
def operations_on_windows():
    """The same for the windows of a `Layout`.

    They are (windows (N, p + k - 1, p + k - 1, C), kernel) -> (N, p, p, C), and (to_windows, x,
    gradient, k) -> the gradient of the kernel, with `x` and the gradient in the layout.
    """
    import jax

    convolve = on_cpu_or_not(
        functools.partial(_alone, functools.partial(sum_of_shifted_products, padding="valid")),
        functools.partial(_convolution, padding="VALID"),
    )

    def kernel_gradient(windows, gradient, size):
        return on_cpu_or_not(
            functools.partial(_gradient_by_rows, size=size),
            functools.partial(_own_gradient_of_rows, size=size),
        )(windows, gradient)

    by_rows = jax.jit(kernel_gradient, static_argnums=2)
    return jax.jit(convolve), functools.partial(_gradient_by_windows, by_rows)


def _gradient_by_windows(by_rows, to_windows, x, gradient, size):
    """The kernel's gradient by a function of windows and patches that are side by side."""
    num_positions, channels = x.size // x.shape[-1], x.shape[-1]

    def arrange(numbers):
        return _side_by_side(numbers, numbers.shape[1] - size + 1, num_positions)

    windows = to_windows(x, arrange)  # (N / M, p + k - 1, M, p + k - 1, C)
    side = windows.shape[1] - size + 1
    gradient = _side_by_side(gradient.reshape(-1, side, side, channels), side, 0)
    return by_rows(windows, gradient, size)


def _side_by_side(windows, side, nothing):
    """(N, s, s, ...) as (N / M, s, M, s, ...), filled with `nothing` where M does not divide N.

    `side` is that of the patches, which settles M.
    """
    import jax.numpy as jnp

    beside = max(1, _LONG_ROW // side)
    left_over = -windows.shape[0] % beside
    whole = [(0, left_over)] + [(0, 0)] * (windows.ndim - 1)
    windows = jnp.pad(windows, whole, constant_values=nothing)
    return windows.reshape(-1, beside, *windows.shape[1:]).swapaxes(1, 2)


def _own_gradient_of_rows(x, gradient, size):
    """As `_gradient_by_rows`, by XLA's own convolution."""
    x, gradient = (rows.swapaxes(1, 2) for rows in (x, gradient))
    # (N * M, H + k - 1, W + k - 1, C) and (N * M, H, W, C)
    x, gradient = (maps.reshape(-1, *maps.shape[2:]) for maps in (x, gradient))
    return _own_kernel_gradient(x, gradient, size, padding="VALID")


def _as_on_cpu(on_cpu, elsewhere):
    return on_cpu


def _alone(function, *tensors):
    """`function(*tensors)`, kept apart from what comes before and after.

    XLA would compute a sum of 49 products anew in the loop of everything that uses it, the next
    block's sum too, and what gathers a map in the loop that writes margins around it; such loops
    are not vectorized. It takes nothing out of a conditional whose condition it does not know.
    """
    import jax
    import jax.numpy as jnp

    def nothing(*tensors):
        result = jax.eval_shape(function, *tensors)
        return jnp.zeros(result.shape, result.dtype)

    return jax.lax.cond(unknown_false(tensors[-1]), nothing, function, *tensors)


def _convolution(x, kernel, padding="SAME"):
    import jax

    return jax.lax.conv_general_dilated(
        x,
        kernel.reshape(*kernel.shape[:2], 1, -1),  # one input channel a group
        window_strides=(1, 1),
        padding=padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _own_kernel_gradient(x, gradient, size, padding="SAME"):
    import jax
    import jax.numpy as jnp

    convolution = functools.partial(_convolution, x, padding=padding)
    kernel = jnp.zeros((size, size, x.shape[-1], 1), x.dtype)
    return jax.vjp(convolution, kernel)[1](gradient)[0].astype(jnp.float32)


def _shifted_kernel_gradient(x, gradient, size):
    import jax.numpy as jnp

    if 0 in x.shape:
        return jnp.zeros((size, size, x.shape[-1], 1), jnp.float32)
    padded = _alone(lambda x, _: pad_for(size, x), x, gradient)
    return _gradient_by_rows(padded[:, :, None], gradient[:, :, None], size)


def _gradient_by_rows(x, gradient, size):
    """The kernel's gradient, float32 (k, k, C, 1), for maps that are side by side.

    Args:
        x: (N, H + k - 1, M, W + k - 1, C), M maps in a row.
        gradient: (N, H, M, W, C).
        size: int, k.
    """
    import jax
    import jax.numpy as jnp

    groups, height, beside, width, channels = gradient.shape
    # Fewer passes over the totals, and enough work in a step for XLA to share it between cores.
    rows_at_once = max(rows for rows in range(1, 8) if height % rows == 0)
    x = x.astype(jnp.float32).reshape(groups * (height + size - 1), beside, -1)
    gradient = gradient.astype(jnp.float32).reshape(groups * height, beside, -1)

    # Without instructions for negative numbers: a training step has hundreds of these slices, and
    # XLA has to compile and to keep each instruction.
    slice_of = functools.partial(jax.lax.dynamic_slice_in_dim, allow_negative_indices=False)

    def add_rows(totals, at):
        start, first = at
        for row in range(rows_at_once):
            # The rows of x that met this row of the gradient: (k, M, (W + k - 1) * C).
            met = slice_of(x, start + row, size)
            met_by = slice_of(gradient, first + row, 1)
            totals = [
                total + met[:, :, column * channels : (column + width) * channels] * met_by
                for column, total in enumerate(totals)
            ]
        return totals, None

    # A total for each column of the kernel: one array of them all would have to be concatenated,
    # which XLA does not vectorize.
    zero = jnp.zeros((size, beside, width * channels), jnp.float32)
    firsts = jnp.arange(0, groups * height, rows_at_once)  # of the gradient's rows
    starts = firsts + firsts // height * (size - 1)  # of those of x
    totals, _ = jax.lax.scan(add_rows, [zero] * size, (starts, firsts))
    columns = [total.reshape(size, beside * width, channels).sum(axis=1) for total in totals]
    return jnp.stack(columns, axis=1)[..., None]
