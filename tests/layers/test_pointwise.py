"""A Dense layer on a map equals the product of a matrix, whatever the backend does for a dtype."""

import keras
import numpy as np
import pytest

from keras_convnextv2.layers.pointwise import at_each_position, normalized
from tests.reference.gradients import gradients_of


class Pointwise(keras.layers.Layer):
    """As a block uses it: inside a `call`, which sets the dtype that weights are read in."""

    def __init__(self, width, **options):
        super().__init__(**options)
        self.dense = keras.layers.Dense(
            width, kernel_initializer="normal", bias_initializer="normal", dtype=self.dtype_policy
        )

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return at_each_position(self.dense, x)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float32", 1e-5), ("mixed_bfloat16", 2**-7), ("mixed_float16", 2**-10)],
)
# Widths that grow and that shrink: the kernel's gradient is computed from either side.
@pytest.mark.parametrize("widths", [(3, 12), (12, 3), (1, 1)])
@pytest.mark.parametrize(
    "map_shape", [(2, 3, 5), pytest.param((1, 1, 1), marks=pytest.mark.one_backend)]
)
def test_values_and_gradients_equal_the_products(rng, dtype, tolerance, widths, map_shape):
    layer = Pointwise(widths[1], dtype=dtype)
    layer.build((None, None, None, widths[0]))
    half = layer.compute_dtype

    def rounded(array):
        return keras.ops.convert_to_numpy(
            keras.ops.cast(keras.ops.cast(array.astype("float32"), half), "float32")
        )

    x_value, upstream = (rounded(rng.normal(size=(*map_shape, width))) for width in widths)
    kernel, bias = (rounded(weight) for weight in layer.get_weights())
    layer.set_weights([kernel, bias])
    x = keras.Variable(x_value)

    def weighted_sum():
        y = layer(keras.ops.cast(x.value, half))
        return keras.ops.sum(keras.ops.multiply(keras.ops.cast(y, "float32"), upstream))

    y = layer(keras.ops.cast(x.value, half))
    assert keras.backend.standardize_dtype(y.dtype) == half
    gradients = gradients_of(weighted_sum, [x, layer.dense.kernel, layer.dense.bias])
    found = [keras.ops.convert_to_numpy(keras.ops.cast(y, "float32")), *gradients]
    rows, upstream_rows = x_value.reshape(-1, widths[0]), upstream.reshape(-1, widths[1])
    expected = [
        x_value @ kernel + bias,
        upstream @ kernel.T,
        rows.T @ upstream_rows,
        upstream_rows.sum(axis=0),
    ]
    for one, other in zip(found, expected, strict=True):
        # A rounding of each value, and on some backends of partial sums, of terms of order 1.
        np.testing.assert_allclose(one, other, atol=4 * tolerance * max(np.abs(other).max(), 1))


@pytest.mark.parametrize(
    "options", [{"activation": "relu"}, {"use_bias": False}, {"dtype": "float32"}], ids=str
)
def test_a_layer_that_does_more_is_called_as_it_is(rng, options):
    options = {"dtype": "mixed_bfloat16", "bias_initializer": "normal", **options}
    dense = keras.layers.Dense(6, **options)
    assert_called_as_it_is(at_each_position, dense, rng)


def test_a_norm_of_another_dtype_is_called_as_it_is(rng):
    norm = keras.layers.LayerNormalization(gamma_initializer="normal", dtype="float32")
    assert_called_as_it_is(normalized, norm, rng)


def assert_called_as_it_is(function, layer, rng):
    """That `function` gives what a layer gives for bfloat16, values and dtype, within another."""

    class Outer(keras.layers.Layer):
        def call(self, x):
            return function(layer, x)

    x = keras.ops.cast(rng.normal(size=(2, 3, 5, 8)), "bfloat16")
    expected = layer(x)
    y = Outer(dtype="mixed_bfloat16")(x)
    assert y.dtype == expected.dtype
    wide = (keras.ops.cast(a, "float32") for a in (y, expected))
    np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, wide))


def test_a_quantized_layer_is_called_as_it_is(rng):
    layer = Pointwise(6, dtype="mixed_bfloat16")
    x = rng.normal(size=(2, 3, 3, 8)).astype("float32")
    before = keras.ops.convert_to_numpy(keras.ops.cast(layer(x), "float32"))
    layer.dense.quantize("int8")
    after = keras.ops.convert_to_numpy(keras.ops.cast(layer(x), "float32"))
    assert layer.dense.quantization_mode == "int8"
    np.testing.assert_allclose(after, before, atol=0.05 * np.abs(before).max())
