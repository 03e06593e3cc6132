"""Moving visible patches between the grid and the strip."""

import keras
import numpy as np
import pytest

from keras_convnextv2.layers import MaskedDepthwiseConv2D, ops
from keras_convnextv2.layers.fast import jax as on_jax
from keras_convnextv2.layers.fast import operations, set_fast_paths
from keras_convnextv2.layers.regions import MaskedMap, VisibleStrip, WholeMap
from tests.reference.gradients import gradients_and_results, gradients_of

pytestmark = pytest.mark.usefixtures("fast_paths")
to_numpy = keras.ops.convert_to_numpy


def place_visible(hidden, num_visible, kernel_size=7):
    return VisibleStrip(keras.ops.convert_to_tensor(hidden), num_visible, kernel_size)


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
    strip = to_numpy(place_visible(hidden, num_visible).enter(x))
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
    placement = place_visible(hidden, 4)
    x = keras.ops.cast(rng.normal(size=(2, 12, 8, 3)).astype("float32"), dtype)
    back = placement.to_map(placement.enter(x))
    assert keras.backend.standardize_dtype(back.dtype) == dtype
    spread = np.kron(hidden, np.ones((1, 4, 4)))[..., None]
    expected = to_numpy(keras.ops.cast(x, "float32")) * (1 - spread)
    np.testing.assert_array_equal(to_numpy(keras.ops.cast(back, "float32")), expected)


def test_hidden_positions_leave_nothing_behind_whatever_they_hold(rng):
    hidden = random_hidden(rng, 2, 3, 2, num_visible=4)
    placement = place_visible(hidden, 4)
    spread = np.kron(hidden, np.ones((1, 4, 4)))[..., None]
    x = np.where(spread == 1, np.nan, rng.normal(size=(2, 12, 8, 3))).astype("float32")
    back = to_numpy(placement.to_map(placement.enter(x)))
    np.testing.assert_array_equal(back, np.where(spread == 1, 0, x))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_gradients_are_the_copies_the_other_way(rng, dtype):
    hidden = random_hidden(rng, 2, 3, 2, num_visible=4)
    spread = np.kron(hidden, np.ones((1, 4, 4)))[..., None]
    placement = place_visible(hidden, 4)
    x = keras.Variable(rng.normal(size=(2, 12, 8, 3)).astype("float32"))
    factors = rng.normal(size=(2, 16, 4, 3)).astype("float32")
    on_map = rng.normal(size=(2, 12, 8, 3)).astype("float32")

    def weighted_sum():
        strip = placement.enter(keras.ops.cast(x.value, dtype))
        back = placement.to_map(strip)
        pairs = [(strip, factors), (back, on_map)]
        return sum(
            keras.ops.sum(keras.ops.multiply(keras.ops.cast(y, "float32"), weights))
            for y, weights in pairs
        )

    (gradient,) = gradients_of(weighted_sum, [x])
    expected = to_numpy(placement.to_map(factors))
    expected = expected + on_map * (1 - spread)
    # One addition in the dtype of the map.
    np.testing.assert_allclose(
        gradient, expected, rtol=0, atol=1e-6 if dtype == "float32" else 1e-2
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("side", "margin", "channels"),
    [
        *((4, 3, 6), (17, 1, 3), (4, 0, 6), (5, 2, 88)),
        *(
            pytest.param(*case, marks=pytest.mark.one_backend)
            for case in ((5, 2, 6), (8, 3, 6), (4, 3, 88))
        ),
    ],
)
def test_windows_give_what_the_map_gives(rng, side, margin, channels, dtype):
    compare_windows_to_the_map(rng, side, margin, channels, dtype)


if keras.backend.backend() == "jax":

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    @pytest.mark.parametrize("channels", [6, 88])
    def test_windows_by_xlas_own_convolution_give_it_too(rng, channels, dtype, monkeypatch):
        """What is lowered for other devices, run on this one."""
        on_jax._on_maps()  # the map's stay as they are
        monkeypatch.setattr(on_jax, "on_cpu_or_not", lambda on_cpu, elsewhere: elsewhere)
        compare_windows_to_the_map(rng, 4, 3, channels, dtype)


def compare_windows_to_the_map(rng, side, margin, channels, dtype):
    """The depthwise convolution of the strip and its gradients, on a grid with every neighbour."""
    hidden = random_hidden(rng, 3, 4, 3, num_visible=7)
    size = 2 * margin + 1 if margin else 7
    layer = MaskedDepthwiseConv2D(size, dtype=f"mixed_{dtype}" if dtype != "float32" else dtype)
    layer.build((None, 7 * side, side, channels))
    layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    strip = keras.Variable(rng.normal(size=(3, 7 * side, side, channels)).astype("float32"))
    upstream = keras.ops.convert_to_tensor(rng.normal(size=strip.shape).astype("float32"))

    by_windows = place_visible(hidden, 7, size if margin else 5).at(strip)
    before = set_fast_paths(set(operations()) - {"windows"})
    by_map = place_visible(hidden, 7, size).at(strip)
    set_fast_paths(before)
    assert by_windows.has_windows_for(strip, layer.kernel) == (margin > 0)
    assert by_map.windows is None
    results = []
    for where in (by_windows, by_map):

        def total(where=where):
            y = layer(keras.ops.cast(strip.value, dtype), where)
            y = keras.ops.cast(y, "float32")
            return keras.ops.sum(y * upstream), y

        gradients, y = gradients_and_results(total, [strip, *layer.trainable_weights])
        results.append([y, *gradients])
    # The same sums in another order; in bfloat16 rounded for each patch, not for each image.
    tolerance = {"float32": 1e-5, "bfloat16": 2**-7}[dtype]
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max())


def test_windows_are_used_without_the_map_but_those_of_another_size_are_not(rng, monkeypatch):
    x, kernel = keras.ops.zeros((2, 16, 4, 3)), keras.ops.zeros((7, 7, 3, 1))
    strip = place_visible(random_hidden(rng, 2, 3, 2, num_visible=4), 4).at(x)
    monkeypatch.setattr(VisibleStrip, "to_map", None)
    monkeypatch.setattr(VisibleStrip, "enter", None)
    assert ops.depthwise_on_strip(x, kernel, strip).shape == x.shape
    assert not strip.has_windows_for(x, keras.ops.zeros((5, 5, 3, 1)))


def test_an_empty_batch_has_no_windows():
    layer = MaskedDepthwiseConv2D(7)
    x = np.zeros((0, 16, 4, 3), "float32")
    strip = place_visible(np.zeros((0, 2, 2), "int32"), 4).at(x)
    assert layer(x, strip).shape == x.shape
    assert not strip.has_windows_for(x, layer.kernel)
    total = lambda: keras.ops.sum(layer(x, strip))  # noqa: E731
    for gradient in gradients_of(total, layer.trainable_weights):
        assert not gradient.any()


@pytest.mark.parametrize("num_visible", [0, 7])
def test_a_strip_has_at_least_one_patch_and_no_more_than_there_are(rng, num_visible):
    with pytest.raises(ValueError, match=f"from 1 to 6.*Received: {num_visible}"):
        place_visible(random_hidden(rng, 2, 3, 2, num_visible=4), num_visible)


@pytest.mark.parametrize("shape", [(2, 10, 8, 3), (2, 12, 9, 3)])
def test_images_that_the_grid_does_not_divide_enter_no_strip(rng, shape):
    strip = place_visible(random_hidden(rng, 2, 3, 2, num_visible=4), 4)
    with pytest.raises(ValueError, match="`hidden` must divide the feature map"):
        strip.enter(np.zeros(shape, "float32"))


def test_sums_and_counts_are_of_the_visible_positions_of_each_image(rng):
    hidden = random_hidden(rng, 2, 3, 2, num_visible=4)
    x = rng.normal(size=(2, 12, 8, 3)).astype("float32")
    visible = 1 - np.kron(hidden, np.ones((1, 4, 4)))[..., None]
    strip, masked = place_visible(hidden, 4), MaskedMap(hidden)
    for region, features in ((strip, strip.enter(x)), (masked, keras.ops.convert_to_tensor(x))):
        expected = (x * visible).sum(axis=(1, 2), keepdims=True)
        np.testing.assert_allclose(to_numpy(region.sum(features)), expected, rtol=1e-4, atol=1e-5)
        assert (to_numpy(region.count(features)) == 4 * 16).all()
    assert (to_numpy(MaskedMap(np.ones_like(hidden)).count(x)) == 1).all()  # to divide by
    assert to_numpy(WholeMap().count(x)) == 96


def test_images_are_not_numbered_in_windows(rng):
    """Those of pixels would be many, and nobody convolves them."""
    strip = place_visible(random_hidden(rng, 2, 3, 2, num_visible=4), 4)
    assert strip._with_side(32).windows is None
    x = keras.ops.zeros((2, 16, 4, 1))
    assert strip.at(x).windows is not None
    placed = strip.at(x)
    assert placed.at(x) is placed
