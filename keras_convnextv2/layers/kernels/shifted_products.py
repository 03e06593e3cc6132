import keras


def shifted_depthwise(x, kernel):
    """A depthwise convolution as k * k multiply-adds of shifted views, computed in float32.

    Args:
        x: (B, H, W, C).
        kernel: (k, k, C, 1) with k odd.

    Returns:
        (B, H, W, C) in the dtype of `x`.
    """
    ops = keras.ops
    margin = (kernel.shape[0] // 2,) * 2
    padded = ops.pad(ops.cast(x, "float32"), ((0, 0), margin, margin, (0, 0)))
    taps = ops.cast(kernel[..., 0], "float32")
    return ops.cast(sum_of_shifted_products(padded, taps), x.dtype)


def sum_of_shifted_products(x, taps):
    """(..., H, W, C) of x (..., H + k - 1, W + k - 1, C) and taps (k, k, ...), one a shift."""
    size = taps.shape[0]
    height, width = (length - size + 1 for length in keras.ops.shape(x)[-3:-1])
    # A sum of sums: short chains of additions run beside each other, a long one waits for itself.
    return sum(
        sum(
            x[..., row : row + height, column : column + width, :] * taps[row, column]
            for column in range(size)
        )
        for row in range(size)
    )
