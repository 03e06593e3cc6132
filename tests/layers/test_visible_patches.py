"""Moving visible patches between the grid and the strip."""

import keras
import numpy as np
import pytest

from keras_convnextv2.layers.visible_patches import gather_visible, place_visible, scatter_visible

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
    strip = to_numpy(gather_visible(x, place_visible(hidden, num_visible)))
    for image in range(3):
        expected = [
            x[image, row * side : (row + 1) * side, column * side : (column + 1) * side]
            for row in range(rows)
            for column in range(columns)
            if not hidden[image, row, column]
        ]
        # Exact: every sum of the product has one term that is not 0.
        np.testing.assert_array_equal(strip[image], np.concatenate(expected))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_scattering_a_strip_puts_zeros_where_hidden(rng, dtype):
    hidden = random_hidden(rng, 2, 3, 2, num_visible=4)
    placement = place_visible(hidden, 4)
    x = keras.ops.cast(rng.normal(size=(2, 12, 8, 3)).astype("float32"), dtype)
    back = scatter_visible(gather_visible(x, placement), placement)
    assert keras.backend.standardize_dtype(back.dtype) == dtype
    spread = np.kron(hidden, np.ones((1, 4, 4)))[..., None]
    expected = to_numpy(keras.ops.cast(x, "float32")) * (1 - spread)
    np.testing.assert_array_equal(to_numpy(keras.ops.cast(back, "float32")), expected)
