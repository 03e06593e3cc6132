"""Faster ways on TensorFlow, for CPUs.

"A step without it takes 1.05x" is measured in docs/performance.md, "What each path gains".
"""

import functools

from keras_convnextv2.layers.fast import gelu_grn as fused
from keras_convnextv2.layers.fast.custom_gradient import with_move_back
from keras_convnextv2.layers.fast.depthwise import with_own_gradient

# Numbers in a row of a patch from which on a product of matrices is faster than a convolution.
_WIDE_ROW = 128


def device(tensor):
    """The kind of device that computes: another than the CPU where there is one."""
    import tensorflow as tf

    for kind in ("GPU", "TPU"):
        if tf.config.list_logical_devices(kind):
            return kind.lower()
    return "cpu"


def depthwise(x, kernel):
    """As `ops.depthwise`; the kernel's gradient as a wide convolution, see `_wide_gradient`.

    A step without it takes 1.07x (fine-tuning atto).
    """
    return with_own_gradient(_convolution, _gradient_of_maps)(x, kernel)


def depthwise_on_strip(x, kernel, strip):
    """As `ops.depthwise_on_strip`: by windows where the strip has them, else by the map.

    A step without it takes 1.35x the memory (pretraining tiny), without windows 1.05x.
    """
    if not strip.has_windows_for(x, kernel):
        ways = (_convolution, _gradient_of_maps, strip.to_map, strip.enter)
        return with_own_gradient(*ways)(x, kernel)
    import tensorflow as tf

    def convolve(x, kernel):
        y = _convolution(_windows(strip, x), kernel, "VALID")
        return tf.reshape(y, tf.shape(x))

    def kernel_gradient(x, upstream, size):
        side = x.shape[2]
        patches = tf.reshape(upstream, (-1, side, side, upstream.shape[3]))
        return _wide_gradient(_windows(strip, x, batch_last=True), patches, size, margin=0)

    return with_own_gradient(convolve, kernel_gradient)(x, kernel)


def _convolution(x, kernel, padding="SAME"):
    import tensorflow as tf

    return tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), padding)


def _gradient_of_maps(x, upstream, size):
    import tensorflow as tf

    return _wide_gradient(tf.transpose(x, (1, 2, 0, 3)), upstream, size, margin=size // 2)


def _wide_gradient(x, upstream, size, margin):
    """The gradient of a depthwise convolution's kernel as a wide depthwise convolution.

        gradient[i, j, c] = sum over b, h, w of padded_x[h + i, w + j, b, c] * upstream[b, h, w, c]

    is again a depthwise convolution: of one map with B * C channels, whose kernel is the upstream
    gradient, H x W, and whose output is k x k for each image. oneDNN computes it several times as
    fast as the gradient when it is asked for that.

    Args:
        x: (H + k - 1 - 2 * margin, W + k - 1 - 2 * margin, B, C), the images last but one.
        upstream: (B, H, W, C).
        size: int, k.
        margin: int, how many zeros are to be added at each side of `x`.

    Returns:
        (k, k, C, 1), float32.
    """
    import tensorflow as tf

    def gradient():
        batch, height, width, channels = tf.unstack(tf.shape(upstream))
        inner = size - 1 - 2 * margin
        wide = tf.reshape(x, (1, height + inner, width + inner, batch * channels))
        if margin:
            wide = tf.pad(wide, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        kernel = tf.reshape(tf.transpose(upstream, (1, 2, 0, 3)), (height, width, -1, 1))
        y = _convolution(wide, kernel, "VALID")
        y = tf.reshape(tf.cast(y, "float32"), (size, size, batch, channels))
        return tf.reduce_sum(y, axis=2)[..., None]

    if x.shape[2]:
        return gradient()
    # An empty batch would be a convolution of no channels, which there is not.
    nothing = tf.zeros((size, size, x.shape[3], 1))
    return tf.cond(tf.shape(x)[2] > 0, gradient, lambda: nothing)


def gelu_grn(x, gamma, beta, epsilon, region):
    """As `ops.gelu_grn`; TensorFlow knows its GELU after a linear layer, as one operation.

    A step without it takes 1.60x the memory (pretraining tiny), 1.55x (fine-tuning atto).
    """
    import tensorflow as tf

    gelu = functools.partial(tf.nn.gelu, approximate=False)
    return fused.recomputing(gelu, x, gamma, beta, epsilon, region)


def has_wide_rows(x, kernel):
    """Whether a row of a patch has many numbers."""
    side, _, channels, _ = kernel.shape
    return None not in x.shape[1:] and side * channels >= _WIDE_ROW


def patch_convolution(x, kernel):
    """As `ops.patch_convolution`, as a product of matrices.

    A step in bfloat16 without it takes 1.04x (pretraining tiny); in float32 it gains nothing.
    """
    import tensorflow as tf

    _, height, width, channels = x.shape
    side, _, _, num_filters = kernel.shape
    rows, columns = height // side, width // side
    x = x[:, : rows * side, : columns * side]
    x = tf.reshape(x, (-1, rows, side, columns, side * channels))
    x = tf.reshape(tf.transpose(x, (0, 1, 3, 2, 4)), (-1, side * side * channels))
    y = tf.matmul(x, tf.reshape(kernel, (-1, num_filters)))
    return tf.reshape(y, (-1, rows, columns, num_filters))


def move_rows(x, numbers, back):
    """As `ops.move_rows`. A step without it takes 1.03x (pretraining tiny)."""
    return with_move_back(_moved, x, numbers, back)


def _moved(x, numbers):
    """The rows of x (B, N, D) by their numbers (B, M); N, there only if M > N, is for zeros."""
    import tensorflow as tf

    num_rows, values = x.shape[1:]
    has_zeros = numbers.shape[1] > num_rows
    rows = _with_zeros(x) if has_zeros else tf.reshape(x, (-1, values))
    return tf.reshape(tf.gather(rows, _flat(numbers, num_rows)), (-1, numbers.shape[1], values))


def _windows(strip, x, batch_last=False):
    """The windows of `x`, features of a `VisibleStrip`: (B * K, s, s, C), or (s, s, B * K, C)."""
    import tensorflow as tf

    side, channels = x.shape[2] + strip.kernel_size - 1, x.shape[3]
    x = tf.reshape(x, (-1, strip.num_visible * x.shape[2] ** 2, channels))
    numbers = tf.reshape(_flat(strip.windows, x.shape[1]), (-1, side, side))
    if batch_last:
        numbers = tf.transpose(numbers, (1, 2, 0))
    return tf.gather(_with_zeros(x), numbers)


def _with_zeros(x):
    """The rows of all images, and a row of zeros."""
    import tensorflow as tf

    return tf.concat([tf.reshape(x, (-1, x.shape[2])), tf.zeros((1, x.shape[2]), x.dtype)], axis=0)


def _flat(numbers, num_rows):
    """Numbers (B, M) within images of `num_rows` rows as numbers of all rows, (B * M,)."""
    import tensorflow as tf

    batch = tf.shape(numbers)[0]
    flat = numbers + tf.range(batch)[:, None] * num_rows
    return tf.reshape(tf.where(numbers < num_rows, flat, batch * num_rows), (-1,))


def sum_of_squares(tensors):
    """As `ops.sum_of_squares`: vectors joined, and each tensor in one pass.

    A step without it takes 1.09x the memory (pretraining tiny).
    """
    import tensorflow as tf

    vectors = [tf.cast(x, "float32") for x in tensors if len(x.shape) == 1]
    others = [tf.cast(x, "float32") for x in tensors if len(x.shape) != 1]
    joined = [tf.concat(vectors, axis=0)] if vectors else []
    return sum((2.0 * tf.nn.l2_loss(x) for x in [*others, *joined]), start=tf.zeros(()))
