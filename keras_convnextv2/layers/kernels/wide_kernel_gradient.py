"""The gradient of a depthwise convolution's kernel as a wide depthwise convolution, for CPUs.

    gradient[i, j, c] = sum over b, h, w of padded_x[b, h + i, w + j, c] * upstream[b, h, w, c]

is again a depthwise convolution: of one map with B * C channels, whose kernel is the upstream
gradient, H x W, and whose output is k x k for each image. The kernels of oneDNN, which TensorFlow
and torch use, compute it several times as fast as they compute the gradient when asked for it.
"""


def by_tensorflow(x, upstream, size):
    """The gradient, float32 (k, k, C, 1), for x and upstream (B, H, W, C) and k = `size`."""
    import tensorflow as tf

    def gradient():
        batch, height, width, channels = tf.unstack(tf.shape(x))
        margin = size // 2
        wide = tf.reshape(tf.transpose(x, (1, 2, 0, 3)), (1, height, width, batch * channels))
        wide = tf.pad(wide, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        kernel = tf.reshape(tf.transpose(upstream, (1, 2, 0, 3)), (height, width, -1, 1))
        y = tf.nn.depthwise_conv2d(wide, kernel, (1, 1, 1, 1), "VALID")
        y = tf.reshape(tf.cast(y, "float32"), (size, size, batch, channels))
        return tf.reduce_sum(y, axis=2)[..., None]

    if x.shape[0]:
        return gradient()
    # An empty batch would be a convolution of no channels, which there is not.
    nothing = tf.zeros((size, size, x.shape[3], 1))
    return tf.cond(tf.shape(x)[0] > 0, gradient, lambda: nothing)


def by_torch(x, upstream, size):
    """As `by_tensorflow`."""
    from torch.nn.functional import conv2d

    batch, height, width, channels = x.shape
    if batch == 0:
        return x.new_zeros((size, size, channels, 1))
    wide = x.permute(1, 2, 0, 3).reshape(1, height, width, batch * channels).permute(0, 3, 1, 2)
    kernel = upstream.permute(0, 3, 1, 2).reshape(batch * channels, 1, height, width)
    y = conv2d(wide, kernel, padding=size // 2, groups=batch * channels)
    y = y.reshape(batch, channels, size, size).float().sum(0)
    return y.permute(1, 2, 0)[..., None]
