import keras


def sum_of_shifted_products(x, kernel):
    """A depthwise convolution as k * k multiply-adds of shifted views, computed in float32.

    Args:
        x: (B, H, W, C).
        kernel: (k, k, C, 1) with k odd.

    Returns:
        (B, H, W, C) in the dtype of `x`.
    """
    return keras.ops.cast(sum_within(pad_for(kernel.shape[0], x), kernel), x.dtype)


def sum_within(x, kernel):
    """As `sum_of_shifted_products`, "valid" padding.

    Returns:
        float32 (B, H - k + 1, W - k + 1, C).
    """
    ops = keras.ops
    size, (height, width) = kernel.shape[0], ops.shape(x)[1:3]
    height, width = height - size + 1, width - size + 1
    x, taps = ops.cast(x, "float32"), ops.cast(kernel[..., 0], "float32")
    # A sum of sums: short chains of additions run beside each other, a long one waits for itself.
    return sum(
        sum(
            x[:, row : row + height, column : column + width] * taps[row, column]
            for column in range(size)
        )
        for row in range(size)
    )


def pad_for(size, x):
    """`x` (B, H, W, C) in float32 with size // 2 zeros at each side of H and W."""
    margin = (size // 2, size // 2)
    return keras.ops.pad(keras.ops.cast(x, "float32"), ((0, 0), margin, margin, (0, 0)))
