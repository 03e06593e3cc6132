"""The depthwise convolution of JAX on a CPU: sums of shifted products that XLA makes one loop of.

That loop goes over the channels of a position before it goes on to the next position, and reads a
value of x and a tap for each of 49 products. Over blocks of eight channels, a register of the loop,
29 of the 49 taps stay in registers, and many channels take half the time; with few, what it costs
to rearrange them is more. Measured in float32 on 2 cores of an AMD EPYC (2026-11-27), rearranging
included: 2.8 and 1.5 ms for (8, 28, 28, 192), 1.3 and 1.15 for (16, 28, 28, 80), nothing gained for
64 channels.
"""

from keras_convnextv2.layers.fast.jax_order import alone

_BLOCK = 8
_MANY_CHANNELS = 80


def convolve_map(x, kernel):
    """(B, H, W, C) in the dtype of x, "same", of x (B, H, W, C) and kernel (k, k, C, 1)."""
    margin, num_blocks = kernel.shape[0] // 2, _num_blocks(x.shape[-1])

    def prepare(x, _):
        if not num_blocks:
            return with_margins(x, margin)
        x = x.reshape(*x.shape[:3], num_blocks, _BLOCK).transpose(0, 3, 1, 2, 4)
        return _pad(x, (0, 0), (0, 0), (margin, margin), (margin, margin), (0, 0))

    return _convolve(alone(prepare, x, kernel), kernel, x.dtype)


def convolve_windows(windows, kernel):
    """(N, p, p, C) in the dtype of the windows.

    Args:
        windows: as `gather_blocks` gives them, of a `VisibleStrip`.
        kernel: (k, k, C, 1).
    """
    return _convolve(windows, kernel, windows.dtype)


def gather_blocks(strip, x):
    """The windows of `x`, features of a `VisibleStrip`, in blocks where there are many channels.

    They are (B * K, s, s, C) or (B * K, C / 8, s, s, 8), s = p + k - 1.
    """
    num_blocks = _num_blocks(x.shape[-1])
    if not num_blocks:
        return gather_windows(strip, x)
    import jax.numpy as jnp

    batch, patches, side = x.shape[0], strip.num_visible, x.shape[2] + strip.kernel_size - 1
    positions = strip.windows.reshape(batch, patches, 1, side * side)
    numbers = positions * num_blocks + jnp.arange(num_blocks, dtype="int32")[:, None]
    rows = x.reshape(batch, -1, _BLOCK)
    windows = rows_or_zeros(rows, numbers.reshape(batch, -1))
    return windows.reshape(batch * patches, num_blocks, side, side, _BLOCK)


def gather_windows(strip, x):
    """The windows of `x`, (B * K, s, s, C): each patch with what is around it in its image."""
    side = x.shape[2] + strip.kernel_size - 1
    windows = rows_or_zeros(x.reshape(x.shape[0], -1, x.shape[-1]), strip.windows)
    return windows.reshape(-1, side, side, x.shape[-1])


def rows_or_zeros(x, numbers):
    """The rows of x (B, N, D) by their numbers (B, M) within an image; from N on, zeros."""
    import jax

    return jax.vmap(
        lambda x, numbers: x.at[numbers].get(mode="fill", fill_value=0, wrap_negative_indices=False)
    )(x, numbers)


def with_margins(x, margin):
    """`x` (B, H, W, C) in float32 with `margin` zeros at each side of H and W.

    A row's positions and channels are padded as one axis: XLA does that by vectors.
    """
    batch, height, width, channels = x.shape
    beside = (margin * channels,) * 2
    rows = _pad(x.reshape(batch, height, width * channels), (0, 0), (margin, margin), beside)
    return rows.reshape(batch, height + 2 * margin, width + 2 * margin, channels)


def _pad(x, *widths):
    """x in float32 with zeros around it."""
    import jax.numpy as jnp

    return jnp.pad(x.astype(jnp.float32), widths)


def _num_blocks(channels):
    """How many blocks channels are taken in, 0 for none."""
    return channels // _BLOCK if channels >= _MANY_CHANNELS and channels % _BLOCK == 0 else 0


def _convolve(x, kernel, dtype):
    """(N, H, W, C), computed in float32.

    Args:
        x: (N, H + k - 1, W + k - 1, C), or with many channels
            (N, C / 8, H + k - 1, W + k - 1, 8).
        kernel: (k, k, C, 1).
        dtype: of the result.
    """
    import jax.numpy as jnp

    size, _, channels, _ = kernel.shape
    num_blocks = _num_blocks(channels)
    shape = (num_blocks, 1, 1, _BLOCK) if num_blocks else (channels,)

    def convolve(x, kernel):
        taps = kernel.astype(jnp.float32).reshape(size, size, *shape)
        return sum_of_shifted_products(x, taps).astype(dtype)

    # Converted before: in the loop each value would be, once for each product.
    y = alone(convolve, x.astype(jnp.float32), kernel)
    if not num_blocks:
        return y
    y = y.transpose(0, 2, 3, 1, 4)
    return y.reshape(*y.shape[:3], channels)


def sum_of_shifted_products(x, taps):
    """(..., H, W, C) of x (..., H + k - 1, W + k - 1, C) and taps (k, k, ...), one a shift."""
    size = taps.shape[0]
    height, width = (length - size + 1 for length in x.shape[-3:-1])
    # A sum of sums: short chains of additions run beside each other, a long one waits for itself.
    return sum(
        sum(
            x[..., row : row + height, column : column + width, :] * taps[row, column]
            for column in range(size)
        )
        for row in range(size)
    )
