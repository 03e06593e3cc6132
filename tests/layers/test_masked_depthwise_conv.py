import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.layers.regions import MaskedMap
from tests.reference.random_weights import randomize
from tests.reference.sparse_block import depthwise_at, visible_positions

HIDDEN = np.array([[[1, 0, 1], [0, 1, 1]], [[0, 0, 1], [0, 0, 0]]], "int32")


def make_layer(rng, channels=3, **options):
    layer = kc.MaskedDepthwiseConv2D(**options)
    layer.build((None, None, None, channels))
    randomize(layer, rng)
    return layer


@pytest.mark.parametrize("kernel_size", [7, 3])
@pytest.mark.parametrize("hidden", [HIDDEN, np.zeros_like(HIDDEN)], ids=["masked", "nothing"])
def test_output_is_that_of_loops_over_visible_neighbours(rng, kernel_size, hidden):
    layer = make_layer(rng, kernel_size=kernel_size)
    x = rng.normal(size=(2, 4, 6, 3)).astype("float32")
    y = keras.ops.convert_to_numpy(layer(x, hidden=hidden))
    expected = np.zeros(x.shape)  # zero where hidden, the bias included
    for image in range(len(x)):
        visible = visible_positions(x[image], hidden[image])
        for position in visible:
            expected[image][position] = (
                depthwise_at(position, visible, layer.kernel.numpy()[..., 0]) + layer.bias.numpy()
            )
    # At most 49 float32 products of values near 1.
    np.testing.assert_allclose(y, expected, atol=1e-5)
    assert (y[hidden.repeat(2, axis=1).repeat(2, axis=2) == 1] == 0).all()


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30])
def test_what_hidden_positions_hold_changes_no_bit(rng, garbage):
    layer = make_layer(rng)
    x = rng.normal(size=(2, 4, 6, 3)).astype("float32")
    changed = np.where(HIDDEN.repeat(2, axis=1).repeat(2, axis=2)[..., None], garbage, x)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(layer(x, hidden=HIDDEN)),
        keras.ops.convert_to_numpy(layer(changed.astype("float32"), hidden=HIDDEN)),
    )


def test_no_mask_equals_a_mask_that_hides_nothing(rng):
    layer = make_layer(rng)
    x = rng.normal(size=(2, 4, 6, 3)).astype("float32")
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(layer(x)),
        keras.ops.convert_to_numpy(layer(x, hidden=np.zeros_like(HIDDEN))),
    )


@pytest.mark.parametrize("kernel_size", [4, 0, -3, 7.0])
def test_kernel_size_must_be_odd(kernel_size):
    with pytest.raises(ValueError, match="`kernel_size` must be an odd int. Received: "):
        kc.MaskedDepthwiseConv2D(kernel_size=kernel_size)


def test_a_mask_of_another_rank_is_refused(rng):
    x = rng.normal(size=(2, 4, 6, 3)).astype("float32")
    with pytest.raises(ValueError, match=r"`hidden` must have shape .*Received shape \(2, 6\)"):
        make_layer(rng)(x, hidden=HIDDEN.reshape(2, 6))


def test_a_grid_that_does_not_divide_the_map_is_refused(rng):
    x = rng.normal(size=(2, 4, 5, 3)).astype("float32")
    with pytest.raises(
        ValueError, match=r"`hidden` must divide the feature map.*3 does not divide 5"
    ):
        make_layer(rng)(x, hidden=HIDDEN)


def test_a_mask_on_a_map_of_unknown_size_is_refused():
    x = keras.KerasTensor((2, None, 6, 3))
    with pytest.raises(ValueError, match=r"feature map of known size.*\(2, None, 6, 3\)"):
        MaskedMap(HIDDEN).at(x)
