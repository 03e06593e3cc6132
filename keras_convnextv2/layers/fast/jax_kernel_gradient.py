"""The gradient of a depthwise convolution's kernel for JAX on a CPU.

A scan over rows, whose body adds shifted products element by element, a row of positions long. XLA
computes a plain reduction over all positions many times slower. Windows are so small that the
totals are kept for several of them at once.
"""

import functools
import math

from keras_convnextv2.layers.fast.jax_order import alone
from keras_convnextv2.layers.fast.jax_shifted import with_margins

# Positions of a row, or of a row in each of the windows at once, about: fewer are too little work.
_LONG_ROW = 32


def by_map(x, gradient, size):
    """(k, k, C, 1), float32, of x and the gradient (B, H, W, C); `size` is k."""
    import jax.numpy as jnp

    if 0 in x.shape:
        return jnp.zeros((size, size, x.shape[-1], 1), jnp.float32)
    padded = alone(lambda x, _: with_margins(x, size // 2), x, gradient)
    return _by_rows(padded, gradient, size, _num_parts(x.shape[0]))


def by_windows(windows, gradient, size):
    """As `by_map`.

    Args:
        windows: (B * K, p + k - 1, p + k - 1, C), of a `VisibleStrip`.
        gradient: the gradient for the strip, (B, K * p, p, C).
        size: int, k.
    """
    side, channels = windows.shape[1] - size + 1, windows.shape[3]
    gradient = gradient.reshape(-1, side, side, channels)
    num_parts, at_once = _num_parts(windows.shape[0]), _at_once(side)
    left_over = -(windows.shape[0] // num_parts) % at_once  # zeros, up to a whole group of a part
    if left_over:
        windows, gradient = (_pad_parts(x, num_parts, left_over) for x in (windows, gradient))
    return _by_rows(windows, gradient, size, num_parts * at_once)


def _pad_parts(x, num_parts, num_zeros):
    """`x` (N, H, W, C) with zeros behind each of its parts.

    Behind all of them, they would shift the parts against the devices that hold them.
    """
    import jax.numpy as jnp

    parts = x.reshape(num_parts, -1, *x.shape[1:])
    parts = jnp.pad(parts, ((0, 0), (0, num_zeros), (0, 0), (0, 0), (0, 0)))
    return parts.reshape(-1, *x.shape[1:])


def _num_parts(count):
    """In how many parts `count` images or windows are summed beside each other.

    Where a batch is spread over devices, over all or some, each scans parts of its own.
    """
    import jax

    return math.gcd(count, jax.device_count())


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
