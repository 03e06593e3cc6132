"""Moving visible patches between the grid and the strip."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_convnextv2.layers import MaskedDepthwiseConv2D
from keras_convnextv2.layers.kernels import depthwise_conv2d, jax_depthwise
from keras_convnextv2.layers.visible_patches import (
    gather_visible,
    layout_of_strip,
    place_visible,
    scatter_visible,
)
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


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("side", "margin", "channels"),
    [(4, 3, 6), (5, 2, 6), (8, 3, 6), (17, 1, 3), (4, 0, 6), (4, 3, 88), (5, 2, 88)],
)
def test_windows_give_what_the_map_gives(rng, side, margin, channels, dtype):
    compare_windows_to_the_map(rng, side, margin, channels, dtype)


if keras.backend.backend() == "jax":

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    @pytest.mark.parametrize("channels", [6, 88])
    def test_windows_by_xlas_own_convolution_give_it_too(rng, channels, dtype, monkeypatch):
        """What is lowered for other devices, run on this one."""
        jax_depthwise.operations("auto")  # the map's stay as they are
        monkeypatch.setattr(jax_depthwise, "on_cpu_or_not", lambda on_cpu, elsewhere: elsewhere)
        compare_windows_to_the_map(rng, 4, 3, channels, dtype)


def compare_windows_to_the_map(rng, side, margin, channels, dtype):
    """The depthwise convolution of the strip and its gradients, on a grid with every neighbour."""
    hidden = random_hidden(rng, 3, 4, 3, num_visible=7)
    placement = place_visible(hidden, 7, side, margin)
    assert (placement.windows is not None) == (margin > 0)
    size = 2 * margin + 1 if margin else 7
    assert (layout_of_strip(placement, side, size).to_windows is not None) == (margin > 0)
    layer = MaskedDepthwiseConv2D(size, dtype=f"mixed_{dtype}" if dtype != "float32" else dtype)
    layer.build((None, 7 * side, side, channels))
    layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    strip = keras.Variable(rng.normal(size=(3, 7 * side, side, channels)).astype("float32"))
    upstream = keras.ops.convert_to_tensor(rng.normal(size=strip.shape).astype("float32"))

    results = []
    for where in (placement, dataclasses.replace(placement, windows=None)):

        def total(where=where):
            y = layer(keras.ops.cast(strip.value, dtype), placement=where)
            return keras.ops.sum(keras.ops.cast(y, "float32") * upstream)

        y = layer(keras.ops.cast(strip.value, dtype), placement=where)
        gradients = gradients_of(total, [strip, *layer.trainable_weights])
        results.append([to_numpy(keras.ops.cast(y, "float32")), *gradients])
    # The same sums in another order; in bfloat16 rounded for each patch, not for each image.
    tolerance = {"float32": 1e-5, "bfloat16": 2**-7}[dtype]
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max())


def test_windows_are_used_without_the_map_but_those_of_another_size_are_not(rng):
    placement = place_visible(random_hidden(rng, 2, 3, 2, num_visible=4), 4, side=4, margin=3)
    without_map = layout_of_strip(placement, 4, 7)._replace(to_map=None, from_map=None)
    x, kernel = np.zeros((2, 16, 4, 3), "float32"), np.zeros((7, 7, 3, 1), "float32")
    x, kernel = map(keras.ops.convert_to_tensor, (x, kernel))
    assert depthwise_conv2d(x, kernel, layout=without_map).shape == x.shape
    assert layout_of_strip(placement, 4, 5).to_windows is None


def test_an_empty_batch_has_no_windows():
    placement = place_visible(np.zeros((0, 2, 2), "int32"), 4, side=4, margin=3)
    assert layout_of_strip(placement, 4, 7).to_windows is None
    layer = MaskedDepthwiseConv2D(7)
    x = np.zeros((0, 16, 4, 3), "float32")
    assert layer(x, placement=placement).shape == x.shape
    total = lambda: keras.ops.sum(layer(x, placement=placement))  # noqa: E731
    for gradient in gradients_of(total, layer.trainable_weights):
        assert not gradient.any()
