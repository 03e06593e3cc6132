"""Moving visible patches between the grid and the strip."""

import keras
import numpy as np
import pytest

from keras_convnextv2.layers.visible_patches import gather_visible, place_visible, scatter_visible
from tests.reference.gradients import gradients_of

to_numpy = keras.ops.convert_to_numpy


def random_hidden(rng, batch, rows, columns, num_visible):
    noise = rng.random((batch, rows * columns))
    rank = noise.argsort(axis=1).argsort(axis=1)
    return (rank >= num_visible).astype("int32").reshape(batch, rows, columns)


@pytest.mark.parametrize(
    ("grid", "side", "num_visible"), [((2, 3), 4, 2), ((3, 2), 1, 5), ((1, 4), 2, 1)]
)
def test_the_strip_holds_the_visible_patches_in_the_order_of_the_grid(rng, grid, side, num_visible):
    rows, columns = grid
    hidden = random_hidden(rng, 3, rows, columns, num_visible)
    x = rng.normal(size=(3, rows * side, columns * side, 5)).astype("float32")
    strip = to_numpy(gather_visible(x, place_visible(hidden, num_visible, side)))
    for image in range(3):
        expected = [
            x[image, row * side : (row + 1) * side, column * side : (column + 1) * side]
            for row in range(rows)
            for column in range(columns)
            if not hidden[image, row, column]
        ]
        np.testing.assert_array_equal(strip[image], np.concatenate(expected))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_scattering_a_strip_puts_zeros_where_hidden(rng, dtype):
    hidden = random_hidden(rng, 2, 3, 2, num_visible=4)
    placement = place_visible(hidden, 4, side=4)
    x = keras.ops.cast(rng.normal(size=(2, 12, 8, 3)).astype("float32"), dtype)
    back = scatter_visible(gather_visible(x, placement), placement)
    assert keras.backend.standardize_dtype(back.dtype) == dtype
    spread = np.kron(hidden, np.ones((1, 4, 4)))[..., None]
    expected = to_numpy(keras.ops.cast(x, "float32")) * (1 - spread)
    np.testing.assert_array_equal(to_numpy(keras.ops.cast(back, "float32")), expected)


def test_hidden_positions_leave_nothing_behind_whatever_they_hold(rng):
    hidden = random_hidden(rng, 2, 3, 2, num_visible=4)
    placement = place_visible(hidden, 4, side=4)
    spread = np.kron(hidden, np.ones((1, 4, 4)))[..., None]
    x = np.where(spread == 1, np.nan, rng.normal(size=(2, 12, 8, 3))).astype("float32")
    back = to_numpy(scatter_visible(gather_visible(x, placement), placement))
    np.testing.assert_array_equal(back, np.where(spread == 1, 0, x))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_gradients_are_the_copies_the_other_way(rng, dtype):
    hidden = random_hidden(rng, 2, 3, 2, num_visible=4)
    spread = np.kron(hidden, np.ones((1, 4, 4)))[..., None]
    placement = place_visible(hidden, 4, side=4)
    x = keras.Variable(rng.normal(size=(2, 12, 8, 3)).astype("float32"))
    factors = rng.normal(size=(2, 16, 4, 3)).astype("float32")
    on_map = rng.normal(size=(2, 12, 8, 3)).astype("float32")

    def weighted_sum():
        strip = gather_visible(keras.ops.cast(x.value, dtype), placement)
        back = scatter_visible(strip, placement)
        pairs = [(strip, factors), (back, on_map)]
        return sum(
            keras.ops.sum(keras.ops.multiply(keras.ops.cast(y, "float32"), weights))
            for y, weights in pairs
        )

    (gradient,) = gradients_of(weighted_sum, [x])
    expected = to_numpy(scatter_visible(keras.ops.convert_to_tensor(factors), placement))
    expected = expected + on_map * (1 - spread)
    # One addition in the dtype of the map.
    np.testing.assert_allclose(
        gradient, expected, rtol=0, atol=1e-6 if dtype == "float32" else 1e-2
    )
