"""Computing the visible patches alone equals computing the whole map with zeros where hidden."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.layers.regions import MaskedMap, VisibleStrip
from tests.reference.both_paths import assert_equal_on_both_paths
from tests.reference.compute import compute
from tests.reference.gradients import gradients_and_results
from tests.reference.random_weights import randomize


def make_pair(image_shape, mask_ratio, stem_stride):
    """Two FCMAEs that share a backbone and a decoder's weights, one for each path."""
    sizes = kc.Variant((1, 1, 2, 1), (4, 6, 8, 12))
    backbone = kc.ConvNeXtV2Backbone(sizes, image_shape, stem_stride=stem_stride)
    pair = [
        kc.FCMAE(backbone, mask_ratio=mask_ratio, decoder_width=8, encoder_path=path)
        for path in ("visible", "dense")
    ]
    randomize(pair[0], np.random.default_rng(1))
    pair[1].set_weights(pair[0].get_weights())
    return pair


@pytest.mark.parametrize(
    ("image_shape", "mask_ratio", "stem_stride"),
    [
        ((16, 24, 3), 0.6, 1),
        pytest.param((40, 16, 1), 0.35, 1, marks=[pytest.mark.slow, pytest.mark.one_backend]),
        pytest.param((16, 48, 4), 0.6, 2, marks=pytest.mark.slow),
    ],
)
def test_loss_and_every_gradient_are_equal(rng, image_shape, mask_ratio, stem_stride):
    visible, dense = make_pair(image_shape, mask_ratio, stem_stride)
    images = rng.normal(size=(3, *image_shape)).astype("float32")
    assert_equal_on_both_paths((visible, dense), images)


@pytest.mark.parametrize("case", range(6))
def test_a_block_on_visible_patches_equals_a_masked_block_on_the_map(case):
    """Random grids, numbers of visible patches, and sides of a patch in the map."""
    rng = np.random.default_rng(case)
    rows, columns = (int(size) for size in rng.integers(1, 6, 2) + (0, 1))
    num_visible = int(rng.integers(1, rows * columns))
    side, batch = int(rng.choice([1, 2, 4])), int(rng.integers(1, 4))
    ranks = rng.random((batch, rows * columns)).argsort(axis=1).argsort(axis=1)
    hidden = (ranks >= num_visible).astype("int32").reshape(batch, rows, columns)
    block = kc.ConvNeXtV2Block(5)
    block.build((batch, rows * side, columns * side, 5))
    randomize(block, rng)
    shape = (batch, rows * side, columns * side, 5)
    x = keras.Variable(rng.normal(size=shape).astype("float32"))
    visible = np.kron(1 - hidden, np.ones((1, side, side)))[..., None].astype("float32")
    upstream = keras.ops.convert_to_tensor(rng.normal(size=shape).astype("float32") * visible)
    region = VisibleStrip(keras.ops.convert_to_tensor(hidden), num_visible)

    def on_visible_patches():
        return region.to_map(block(region.enter(x.value), region))

    def on_the_map():
        return block(x.value, MaskedMap(hidden)) * keras.ops.convert_to_tensor(visible)

    results = []
    for function in (on_visible_patches, on_the_map):

        def total(function=function):
            y = function()
            return keras.ops.sum(y * upstream), y

        gradients, y = gradients_and_results(total, [x, *block.trainable_weights])
        results.append([y, *gradients])
    for one, other in zip(*results, strict=True):
        assert np.linalg.norm(one - other) <= 1e-5 * np.linalg.norm(other)


def test_the_step_is_compiled_once_whatever_the_masks(rng, monkeypatch):
    visible, _ = make_pair((16, 24, 3), 0.6, 1)
    images = rng.normal(size=(12, 16, 24, 3)).astype("float32")
    runs, real = [], visible.step_loss
    monkeypatch.setattr(visible, "step_loss", lambda data: runs.append(1) or real(data))
    visible.compile()
    visible.fit(images, batch_size=2, epochs=2, verbose=0)
    steps = 2 * 6
    # torch runs each step as it is written; a compiled step's Python runs while it is traced.
    assert len(runs) == (steps if keras.backend.backend() == "torch" else 1)


def test_three_steps_of_training_are_equal(rng):
    visible, dense = make_pair((16, 24, 3), 0.6, 1)
    start = [np.array(weight) for weight in visible.get_weights()]
    images = rng.normal(size=(4, 16, 24, 3)).astype("float32")
    ends = []
    for fcmae in (visible, dense):  # they share the backbone: one after the other
        fcmae.set_weights(start)
        fcmae.compile(optimizer=keras.optimizers.SGD(0.1))
        fcmae.fit(images, batch_size=4, epochs=3, verbose=0, shuffle=False)
        ends.append([np.array(weight) for weight in fcmae.get_weights()])
    for one, other in zip(*ends, strict=True):
        # Rounding, grown over three steps; the weights moved by far more.
        np.testing.assert_allclose(one, other, atol=1e-5)
    moved = [np.abs(one - before).max() for one, before in zip(ends[0], start, strict=True)]
    assert max(moved) > 1e-3


def test_predictions_under_drawn_masks_equal_those_under_the_same_masks_from_outside(rng):
    visible, _ = make_pair((16, 24, 3), 0.6, 1)
    images = rng.normal(size=(3, 16, 24, 3)).astype("float32")
    drawn = compute(visible, images)
    given = compute(visible, images, hidden=drawn["hidden"])
    # float32 sums in another order.
    np.testing.assert_allclose(drawn["prediction"], given["prediction"], rtol=1e-4, atol=1e-5)


def test_hidden_pixels_change_no_visible_prediction(rng):
    visible, _ = make_pair((16, 24, 3), 0.6, 1)
    images = rng.normal(size=(2, 16, 24, 3)).astype("float32")
    before = compute(visible, images)
    spread = np.kron(before["hidden"], np.ones((1, 8, 8)))[..., None]
    changed = np.where(spread == 1, np.float32(np.nan), images).astype("float32")
    after = compute(visible, changed)
    np.testing.assert_array_equal(before["prediction"], after["prediction"])
