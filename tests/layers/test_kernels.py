"""The depthwise convolution equals NumPy's loops, on every backend and in every dtype."""

import keras
import numpy as np
import pytest

from keras_convnextv2.layers import kernels
from tests.reference.gradients import gradients_of


def reference(x, kernel):
    size = kernel.shape[0]
    margin = size // 2
    padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    result = np.zeros_like(x)
    for row in range(size):
        for column in range(size):
            view = padded[:, row : row + x.shape[1], column : column + x.shape[2]]
            result += view * kernel[row, column, :, 0]
    return result


@pytest.mark.parametrize("shape", [(2, 5, 9, 3), (1, 8, 3, 4), (3, 1, 1, 2)])
@pytest.mark.parametrize("size", [3, 7])
def test_values_and_gradients_equal_the_loops(rng, shape, size):
    x = rng.normal(size=shape)
    kernel = rng.normal(size=(size, size, shape[-1], 1))
    upstream = rng.normal(size=shape)
    x_variable = keras.Variable(x.astype("float32"))
    kernel_variable = keras.Variable(kernel.astype("float32"))

    tensors = [keras.ops.convert_to_tensor(a.astype("float32")) for a in (x, kernel)]
    y = kernels.depthwise_conv2d(*tensors)
    expected = reference(x, kernel)
    # float32 against float64: sums of 49 products of order 1.
    np.testing.assert_allclose(keras.ops.convert_to_numpy(y), expected, atol=1e-4)

    def weighted_sum():
        y = kernels.depthwise_conv2d(x_variable.value, kernel_variable.value)
        return keras.ops.sum(keras.ops.multiply(y, upstream.astype("float32")))

    x_gradient, kernel_gradient = gradients_of(weighted_sum, [x_variable, kernel_variable])
    # The sum is bilinear: each gradient is the sum at the unit vectors, taken here as another
    # convolution for x, and tap by tap for the kernel.
    np.testing.assert_allclose(x_gradient, reference(upstream, kernel[::-1, ::-1]), atol=1e-4)
    for row in range(size):
        for column in range(size):
            tap = np.zeros_like(kernel)
            tap[row, column] = 1
            expected = (reference(x, tap) * upstream).sum(axis=(0, 1, 2))
            np.testing.assert_allclose(kernel_gradient[row, column, :, 0], expected, atol=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 2**-7), ("float16", 2**-10)])
def test_half_precision_is_the_rounded_result(rng, dtype, tolerance):
    x = keras.ops.cast(rng.normal(size=(2, 6, 10, 4)), dtype)
    kernel = keras.ops.cast(rng.normal(size=(7, 7, 4, 1)), dtype)
    y = kernels.depthwise_conv2d(x, kernel)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    wide = [keras.ops.convert_to_numpy(keras.ops.cast(a, "float32")) for a in (x, kernel, y)]
    expected = reference(*wide[:2])
    # One rounding of a result of up to about 30, and a backend that rounds its partial sums.
    np.testing.assert_allclose(wide[2], expected, atol=8 * tolerance * np.abs(expected).max())
