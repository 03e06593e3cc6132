"""The gradient of a depthwise convolution's kernel for JAX on a CPU.

A scan over rows, whose body adds shifted products element by element, a row of positions long. XLA
computes a plain reduction over all positions many times slower. Windows are so small that the
totals are kept for several of them at once.
"""

import functools

from keras_convnextv2.layers.kernels.jax_order import alone
from keras_convnextv2.layers.kernels.jax_shifted import with_margins

# Positions of a row, or of a row in each of the windows at once, about: fewer are too little work.
_LONG_ROW = 32


def by_map(x, gradient, size):
    """(k, k, C, 1), float32, of x and the gradient (B, H, W, C); `size` is k."""
    import jax.numpy as jnp

    if 0 in x.shape:
        return jnp.zeros((size, size, x.shape[-1], 1), jnp.float32)
    padded = alone(lambda x, _: with_margins(x, size // 2), x, gradient)
    return _by_rows(padded, gradient, size, at_once=1)


def by_windows(windows, gradient, size):
    """As `by_map`.

    Args:
        windows: as `gather_whole_groups` gives them.
        gradient: in the layout; the same patches, N or fewer of them.
        size: int, k.
    """
    import jax.numpy as jnp

    side = windows.shape[1] - size + 1
    gradient = gradient.reshape(-1, side, side, gradient.shape[-1])
    left_over = windows.shape[0] - gradient.shape[0]
    gradient = jnp.pad(gradient, ((0, left_over), (0, 0), (0, 0), (0, 0)))
    return _by_rows(windows, gradient, size, _at_once(side))


def gather_whole_groups(to_windows, x, size):
    """The windows (N, p + k - 1, p + k - 1, C) of x in a `Layout`, and zeros up to a whole group.

    A group is what a step of the scan takes of them at once.
    """
    import jax.numpy as jnp

    of_zeros = x.size // x.shape[-1]

    def whole(numbers):
        count, length, _ = numbers.shape
        left_over = -count % _at_once(length - size + 1)
        return jnp.pad(numbers, ((0, left_over), (0, 0), (0, 0)), constant_values=of_zeros)

    return to_windows(x, whole)


def _at_once(side):
    return max(1, _LONG_ROW // side)


def _by_rows(x, gradient, size, at_once):
    """The kernel's gradient, float32 (k, k, C, 1).

    Args:
        x: (N, H + k - 1, W + k - 1, C).
        gradient: (N, H, W, C).
        size: int, k.
        at_once: int, of how many of the N a step of the scan computes a row; divides N.
    """
    import jax
    import jax.numpy as jnp

    count, height, width, channels = gradient.shape
    count //= at_once
    # Fewer passes over the totals, and enough work in a step for XLA to share it between cores.
    rows_at_once = max(rows for rows in range(1, 8) if height % rows == 0)
    several = (at_once,) if at_once > 1 else ()  # XLA would copy arrays with an axis of 1
    x = x.astype(jnp.float32).reshape(*several, count * (height + size - 1), -1)
    gradient = gradient.astype(jnp.float32).reshape(*several, count * height, -1)

    # Without instructions for negative numbers: a training step has hundreds of these slices, and
    # XLA has to compile and to keep each instruction.
    slice_of = functools.partial(
        jax.lax.dynamic_slice_in_dim, axis=len(several), allow_negative_indices=False
    )

    def add_rows(totals, at):
        start, first = at
        for row in range(rows_at_once):
            # The rows of x that met this row of the gradient: (..., k, (W + k - 1) * C).
            met = slice_of(x, start + row, size)
            met_by = slice_of(gradient, first + row, 1)
            totals = [
                total + met[..., column * channels : (column + width) * channels] * met_by
                for column, total in enumerate(totals)
            ]
        return totals, None

    # A total for each column of the kernel: one array of them all would have to be concatenated,
    # which XLA does not vectorize.
    zero = jnp.zeros((*several, size, width * channels), jnp.float32)
    firsts = jnp.arange(0, count * height, rows_at_once)  # of the gradient's rows
    starts = firsts + firsts // height * (size - 1)  # of those of x
    totals, _ = jax.lax.scan(add_rows, [zero] * size, (starts, firsts))
    totals = [total.reshape(at_once, size, width, channels) for total in totals]
    return jnp.stack([total.sum(axis=(0, 2)) for total in totals], axis=1)[..., None]
