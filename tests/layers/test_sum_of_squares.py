import keras
import numpy as np

from keras_convnextv2.layers.ops import sum_of_squares


def test_a_sum_of_squares_is_that_of_all_tensors(rng):
    values = [rng.normal(size=shape) for shape in [(3,), (4, 5), (), (6,), (2, 3, 4), (0,)]]
    expected = sum(np.square(x).sum() for x in values)
    tensors = [keras.ops.cast(x, "float32") for x in values]
    for some in (tensors, tensors[::-1]):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(sum_of_squares(some)), expected, 1e-6)
    assert keras.ops.convert_to_numpy(sum_of_squares([])) == 0
    only_vectors = keras.ops.convert_to_numpy(sum_of_squares([tensors[0], tensors[3]]))
    np.testing.assert_allclose(only_vectors, np.square(np.r_[values[0], values[3]]).sum(), 1e-6)


def test_a_sum_of_squares_of_half_precision_is_float32():
    large = [keras.ops.full(shape, 300.0, dtype="float16") for shape in [(4,), (2, 2)]]
    total = sum_of_squares(large)
    assert keras.backend.standardize_dtype(total.dtype) == "float32"
    assert keras.ops.convert_to_numpy(total) == 8 * 300.0**2  # more than float16 can hold
