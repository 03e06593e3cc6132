import keras
import numpy as np
import pytest

from keras_convnextv2.fcmae.loss import hidden_patch_loss, normalize_patches
from keras_convnextv2.fcmae.patches import patchify, unpatchify
from tests.reference.compute import compute
from tests.reference.hidden_loss import hidden_loss

# Per-image masks that hide different numbers of patches.
HIDDEN = np.array([[[1, 0, 1], [1, 1, 0]], [[0, 0, 1], [0, 0, 0]]], "int32")


@pytest.mark.parametrize("normalize_targets", [True, False])
# Patches of a variance as small as the epsilon show it.
@pytest.mark.parametrize(("mean", "deviation"), [(3, 2), (0.01, 1e-3)])
def test_loss_is_that_of_loops(rng, normalize_targets, mean, deviation):
    images = (mean + deviation * rng.normal(size=(2, 4, 6, 3))).astype("float32")
    prediction = rng.normal(size=(2, 2, 3, 12)).astype("float32")
    targets = patchify(images, 2)
    if normalize_targets:
        targets = normalize_patches(targets)
    loss = float(hidden_patch_loss(targets, prediction, HIDDEN))
    expected = hidden_loss(images, prediction, HIDDEN, normalize_targets)
    assert abs(loss / expected - 1) < 1e-5  # a float32 mean of 60 squares


@pytest.mark.parametrize("normalize_targets", [True, False])
def test_the_models_loss_is_that_of_loops_over_its_prediction(rng, make_fcmae, normalize_targets):
    fcmae = make_fcmae(normalize_targets=normalize_targets, encoder_path="dense")
    images = (3 + 2 * rng.normal(size=(2, 16, 24, 3))).astype("float32")
    prediction = compute(fcmae, images, hidden=HIDDEN)["prediction"]
    expected = hidden_loss(images, prediction, HIDDEN, normalize_targets)
    assert abs(compute(fcmae.loss_on, images, HIDDEN) / expected - 1) < 1e-5  # float32 means


def test_a_perfect_prediction_costs_nothing(rng):
    targets = normalize_patches(patchify(rng.normal(size=(2, 4, 6, 3)).astype("float32"), 2))
    assert float(hidden_patch_loss(targets, targets, HIDDEN)) == 0.0


def test_only_hidden_patches_are_paid_for(rng):
    targets = rng.normal(size=(2, 2, 3, 12)).astype("float32")
    prediction = np.where(HIDDEN[..., None], targets, np.nan).astype("float32")
    assert float(hidden_patch_loss(targets, prediction, HIDDEN)) == 0.0


def test_zeros_on_normalised_targets_score_about_1(rng):
    images = (3 + 2 * rng.normal(size=(2, 16, 24, 3))).astype("float32")
    targets = normalize_patches(patchify(images, 8))
    loss = float(hidden_patch_loss(targets, keras.ops.zeros_like(targets), HIDDEN))
    # The unbiased variance makes it (N - 1) / N exactly, N = 192; float32 rounding beside.
    assert abs(loss - 191 / 192) < 1e-5


def test_nothing_hidden_costs_nothing(rng):
    targets = rng.normal(size=(2, 2, 3, 12)).astype("float32")
    assert float(hidden_patch_loss(targets, 0 * targets, 0 * HIDDEN)) == 0.0


def test_a_patch_of_one_colour_has_finite_targets():
    targets = normalize_patches(np.full((1, 1, 2, 12), 0.3, "float32"))
    # Its mean rounds by 3e-8, its deviation is sqrt(1e-6).
    np.testing.assert_allclose(keras.ops.convert_to_numpy(targets), 0.0, atol=1e-3)


def test_patches_are_vectors_by_row_column_channel(rng):
    images = rng.normal(size=(2, 4, 6, 3)).astype("float32")
    patches = keras.ops.convert_to_numpy(patchify(images, 2))
    assert patches.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(patches[1, 1, 2], images[1, 2:4, 4:6].reshape(-1))


def test_unpatchify_inverts_patchify(rng):
    images = rng.normal(size=(2, 12, 6, 5)).astype("float32")
    y = keras.ops.convert_to_numpy(unpatchify(patchify(images, 3), 3))
    np.testing.assert_array_equal(y, images)
