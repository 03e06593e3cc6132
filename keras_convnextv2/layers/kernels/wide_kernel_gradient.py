"""The gradient of a depthwise convolution's kernel as a wide depthwise convolution, for CPUs.

    gradient[i, j, c] = sum over b, h, w of padded_x[h + i, w + j, b, c] * upstream[b, h, w, c]

is again a depthwise convolution: of one map with B * C channels, whose kernel is the upstream
gradient, H x W, and whose output is k x k for each image. The kernels of oneDNN, which TensorFlow
and torch use, compute it several times as fast as they compute the gradient when asked for it.
"""


def by_tensorflow(x, upstream, size, margin):
    """The gradient, float32 (k, k, C, 1).

    Args:
        x: (H + k - 1 - 2 * margin, W + k - 1 - 2 * margin, B, C), the images last but one.
        upstream: (B, H, W, C).
        size: int, k.
        margin: int, how many zeros are to be added at each side of `x`.
    """
    import tensorflow as tf

    def gradient():
        batch, height, width, channels = tf.unstack(tf.shape(upstream))
        inner = size - 1 - 2 * margin
        wide = tf.reshape(x, (1, height + inner, width + inner, batch * channels))
        if margin:
            wide = tf.pad(wide, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        kernel = tf.reshape(tf.transpose(upstream, (1, 2, 0, 3)), (height, width, -1, 1))
        y = tf.nn.depthwise_conv2d(wide, kernel, (1, 1, 1, 1), "VALID")
        y = tf.reshape(tf.cast(y, "float32"), (size, size, batch, channels))
        return tf.reduce_sum(y, axis=2)[..., None]

    if x.shape[2]:
        return gradient()
    # An empty batch would be a convolution of no channels, which there is not.
    nothing = tf.zeros((size, size, x.shape[3], 1))
    return tf.cond(tf.shape(x)[2] > 0, gradient, lambda: nothing)


def by_torch(x, upstream, size, margin):
    """As `by_tensorflow`."""
    from torch.nn.functional import conv2d

    rows, columns, batch, channels = x.shape
    if batch == 0:
        return x.new_zeros((size, size, channels, 1))
    wide = x.reshape(1, rows, columns, batch * channels).permute(0, 3, 1, 2)
    kernel = upstream.permute(0, 3, 1, 2).reshape(batch * channels, 1, *upstream.shape[1:3])
    y = conv2d(wide, kernel, padding=margin, groups=batch * channels)
    y = y.permute(0, 2, 3, 1).reshape(size, size, batch, channels)
    return y.float().sum(2)[..., None]
