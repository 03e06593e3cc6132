import keras


def sum_of_shifted_products(x, kernel, padding="same"):
    """A depthwise convolution as k * k multiply-adds of shifted views, computed in float32.

    Args:
        x: (B, H, W, C).
        kernel: (k, k, C, 1) with k odd.
        padding: "same" or "valid".

    Returns:
        (B, H, W, C) in the dtype of `x`; with "valid" k - 1 less in H and W.
    """
    ops = keras.ops
    size, dtype = kernel.shape[0], x.dtype
    x = pad_for(size, x) if padding == "same" else ops.cast(x, "float32")
    height, width = (length - size + 1 for length in ops.shape(x)[1:3])
    taps = ops.cast(kernel[..., 0], "float32")
    # A sum of sums: short chains of additions run beside each other, a long one waits for itself.
    total = sum(
        sum(
            x[:, row : row + height, column : column + width] * taps[row, column]
            for column in range(size)
        )
        for row in range(size)
    )
    return ops.cast(total, dtype)


def pad_for(size, x):
    """`x` (B, H, W, C) in float32 with size // 2 zeros at each side of H and W."""
    margin = (size // 2, size // 2)
    return keras.ops.pad(keras.ops.cast(x, "float32"), ((0, 0), margin, margin, (0, 0)))
