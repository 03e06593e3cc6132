import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from tests.reference.compute import compute
from tests.reference.gradients import gradients_of
from tests.reference.random_weights import named_weights, randomize
from tests.reference.sparse_block import sparse_block

# Different masks, which hide different numbers of patches.
HIDDEN = np.array([[[1, 0, 1], [0, 1, 1]], [[0, 0, 1], [0, 0, 0]], [[1, 1, 1], [1, 1, 0]]], "int32")


def make_block(rng, width=3, **options):
    block = kc.ConvNeXtV2Block(width, **options)
    block.build((None, None, None, width))
    randomize(block, rng)
    return block


def spread(hidden):
    """(B, H, W, 1) of patches of 2x2."""
    return hidden.repeat(2, axis=1).repeat(2, axis=2)[..., None]


@pytest.mark.parametrize("hidden", [HIDDEN, None], ids=["masked", "unmasked"])
def test_output_is_that_of_a_sparse_convolution_in_loops(rng, hidden):
    block = make_block(rng)
    x = rng.normal(size=(3, 4, 6, 3)).astype("float32")
    y = compute(block, x, hidden=hidden)
    weights = short_paths(block)
    for image in range(len(x)):
        mask = np.zeros((2, 3)) if hidden is None else hidden[image]
        for position, expected in sparse_block(weights, x[image], mask).items():
            # Float32 sums of some dozen values of up to about 10.
            np.testing.assert_allclose(y[image][position], expected, rtol=1e-4, atol=2e-5)


def short_paths(block):
    """{"depthwise/kernel": ...}: the last two parts of each path."""
    return {"/".join(path.split("/")[-2:]): value for path, value in named_weights(block).items()}


@pytest.mark.parametrize("garbage", [np.nan, -np.inf, 1e30])
def test_visible_outputs_do_not_depend_on_what_hidden_positions_hold(rng, garbage):
    block = make_block(rng)
    x = rng.normal(size=(3, 4, 6, 3)).astype("float32")
    changed = np.where(spread(HIDDEN), garbage, x).astype("float32")
    one, other = (compute(block, values, hidden=HIDDEN) for values in (x, changed))
    visible = np.broadcast_to(spread(HIDDEN) == 0, x.shape)
    np.testing.assert_array_equal(one[visible], other[visible])


def test_a_mask_may_be_boolean_or_as_fine_as_the_map(rng):
    block = make_block(rng)
    x = rng.normal(size=(3, 4, 6, 3)).astype("float32")
    visible = np.broadcast_to(spread(HIDDEN) == 0, x.shape)
    expected = compute(block, x, hidden=HIDDEN)[visible]
    for hidden in (HIDDEN == 1, spread(HIDDEN)[..., 0], HIDDEN.astype("float32")):
        y = compute(block, x, hidden=hidden)
        np.testing.assert_array_equal(y[visible], expected)


def test_all_but_one_patch_hidden_gives_finite_values_and_gradients(rng):
    block = make_block(rng)
    x = rng.normal(size=(2, 4, 6, 3)).astype("float32")
    hidden = np.ones((2, 2, 3), "int32")
    hidden[0, 1, 2] = hidden[1, 0, 0] = 0
    weights = rng.normal(size=x.shape).astype("float32") * (1 - spread(hidden))
    gradients = gradients_of(
        lambda: keras.ops.sum(keras.ops.multiply(block(x, hidden=hidden), weights)),
        block.trainable_weights,
    )
    assert np.isfinite(compute(block, x, hidden=hidden)).all()
    for weight, gradient in zip(block.trainable_weights, gradients, strict=True):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, weight.path


def test_drop_path_leaves_some_images_unchanged_in_training_only(rng):
    block = make_block(rng, drop_path_rate=0.5, seed=2)
    x = rng.normal(size=(40, 2, 3, 3)).astype("float32")
    unchanged = {
        training: (compute(block, x, training=training) == x).all(axis=(1, 2, 3))
        for training in (True, False)
    }
    assert 0 < unchanged[True].sum() < 40
    assert not unchanged[False].any()


@pytest.mark.parametrize("width", [0, -1, 2.0, "3"])
def test_width_must_be_a_positive_int(width):
    with pytest.raises(ValueError, match="`width` must be a positive int. Received: "):
        kc.ConvNeXtV2Block(width)


def test_another_number_of_channels_is_refused(rng):
    with pytest.raises(ValueError, match=r"width 3 takes 3 channels.*shape \(2, 4, 6, 5\)"):
        kc.ConvNeXtV2Block(3)(np.zeros((2, 4, 6, 5), "float32"))
