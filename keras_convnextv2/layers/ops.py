"""Every costly operation of the layers, once, in plain `keras.ops`.

This is what the library computes, on every backend and device. `fast` holds other ways to the same
numbers, which are taken in place of these where they were measured to be faster; `fast/table.py`
says where, and beside these has a faster update of AdamW and the windows of a strip (`regions`).
With `set_fast_paths("off")` nothing but this file is used, and Keras's own AdamW.

Features are (B, H, W, C); a `region` (`layers/regions.py`) says what of them is visible.
"""

import keras

from keras_convnextv2.layers.fast.table import fast_where_possible
from keras_convnextv2.layers.grn_formula import guarded_root, response

LARGEST_FLOAT16 = 65504.0


@fast_where_possible
def depthwise(x, kernel):
    """The depthwise convolution of maps x with kernel (k, k, C, 1), stride 1, "same" padding."""
    return keras.ops.depthwise_conv(x, kernel, padding="same", data_format="channels_last")


@fast_where_possible
def depthwise_on_strip(x, kernel, strip):
    """The same for the visible patches x (B, K * p, p, C) of a `VisibleStrip`, as on their map."""
    return strip.enter(depthwise(strip.to_map(x), kernel))


@fast_where_possible
def patch_convolution(x, kernel):
    """The convolution with kernel (p, p, C, D) of stride p: of patches that do not overlap."""
    side, _, channels, num_filters = kernel.shape
    if is_one_column(x, kernel):
        rows = x.shape[1] // side
        patches = reshape(x[:, : rows * side, :side], (-1, rows, side * side * channels))
        y = keras.ops.matmul(patches, reshape(kernel, (-1, num_filters)))
        return keras.ops.expand_dims(y, 2)
    return keras.ops.conv(x, kernel, strides=kernel.shape[0], data_format="channels_last")


def is_one_column(x, kernel):
    """Whether a map is one patch wide, as the strip of visible patches is in the end.

    Its patches lie one after the other, so their convolution is a product as they are. It must be
    one: in bfloat16, on processors with AMX, oneDNN (3.12, `brg_conv_fwd:avx10_1_512_amx`) takes
    what lies in memory behind such a map into its result, where the channels are more than 16 and
    no multiple of 32. Multiplied by zeros it is nothing, unless the product is no finite number.
    """
    height, width = x.shape[1:3]
    return None not in (height, width) and width // kernel.shape[0] == 1


@fast_where_possible
def linear(x, kernel, bias):
    """x @ kernel + bias at each position, for kernel (C, D) and bias (D,)."""
    # As one matrix: given four axes, XLA on a CPU transposes them for the kernel's gradient.
    rows = reshape(x, (-1, x.shape[-1]))
    y = keras.ops.add(keras.ops.matmul(rows, kernel), bias)
    return reshape(y, (*keras.ops.shape(x)[:-1], kernel.shape[-1]))


@fast_where_possible
def layer_norm(x, gamma, beta, epsilon):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta over channels, in float32 at least."""
    y = keras.ops.layer_normalization(x, gamma, beta, axis=-1, epsilon=epsilon)
    return keras.ops.cast(y, x.dtype)


def gelu(x):
    """GELU by the error function, not by tanh."""
    return keras.ops.gelu(x, approximate=False)


def grn(x, gamma, beta, epsilon, region):
    """Global response normalization; see `GlobalResponseNormalization` for the equations.

    The statistics, and the result before it is cast to the dtype of x, are float32; float16
    saturates instead of overflowing. `gamma` and `beta` are float32 (C,).
    """
    return calibrated(x, gamma, beta, relative_responses(x, epsilon, region))


def relative_responses(x, epsilon, region):
    """N of GRN, how strong each channel is beside the others: float32 (B, 1, 1, C)."""
    relative, _ = response(keras.ops, norm_over_positions(x, region), epsilon)
    return relative


def calibrated(x, gamma, beta, relative):
    """gamma * (x * N) + beta + x, N being `relative`, (B, 1, 1, C) or (C,)."""
    # One multiply and one add over the map.
    y = keras.ops.cast(x, "float32") * (1.0 + gamma * relative) + beta
    return narrowed(y, x.dtype)


def narrowed(y, dtype):
    """y, float32, cast to another dtype; float16 saturates instead of overflowing."""
    if keras.backend.standardize_dtype(dtype) == "float16":
        y = keras.ops.clip(y, -LARGEST_FLOAT16, LARGEST_FLOAT16)
    return keras.ops.cast(y, dtype)


@fast_where_possible
def gelu_grn(x, gamma, beta, epsilon, region):
    """GRN of GELU: two lines of a block, which have a faster way together."""
    return grn(gelu(x), gamma, beta, epsilon, region)


def norm_over_positions(x, region):
    """The root of the sum of squares over an image's visible positions, float32 (B, 1, 1, C)."""
    squares = keras.ops.square(region.clean(keras.ops.cast(x, "float32")))
    energy = keras.ops.sum(squares, axis=(1, 2), keepdims=True)
    return guarded_root(keras.ops, energy)


@fast_where_possible
def move_rows(x, numbers, back):
    """The rows of each image by their numbers within it: (B, M, D).

    Args:
        x: (B, N, D).
        numbers: int32 (B, M), each number below N at most once. The number N stands for a row of
            zeros. It may occur only if M > N; then each of the N rows is among the M.
        back: int32 (B, N), the numbers of the move the other way.
    """
    batch, _, values = keras.ops.shape(x)
    nothing = keras.ops.zeros((batch, 1, values), x.dtype)
    return take_rows(keras.ops.concatenate([x, nothing], axis=1), numbers)


@fast_where_possible
def take_rows(x, numbers):
    """The rows of each image by their numbers, which may repeat: of x (B, N, D), (B, M, D)."""
    return keras.ops.vectorized_map(
        lambda pair: keras.ops.take(pair[0], pair[1], axis=0), (x, numbers)
    )


@fast_where_possible
def computed_once(numbers):
    """`numbers`, unchanged. A backend may keep them from being computed for each value read."""
    return numbers


@fast_where_possible
def reshape(x, shape):
    """x in another shape."""
    return keras.ops.reshape(x, shape)


@fast_where_possible
def sum_of_squares(tensors):
    """The sum of squares of all values of a list of tensors, float32 ()."""
    squares = [keras.ops.sum(keras.ops.square(keras.ops.cast(x, "float32"))) for x in tensors]
    return sum(squares, start=keras.ops.zeros((), "float32"))
