"""Nothing of a hidden patch reaches the encoder."""

import numpy as np
import pytest

import keras_convnextv2 as kc
from tests.reference.compute import compute
from tests.reference.gradients import gradients_of

HIDDEN = np.array([[[1, 0, 1], [1, 1, 0]], [[0, 0, 1], [0, 0, 0]]], "int32")
EVEN = np.array([[[1, 0, 1], [1, 1, 0]], [[0, 1, 1], [1, 0, 1]]], "int32")
each_path = pytest.mark.parametrize(("path", "hidden"), [("dense", HIDDEN), ("visible", EVEN)])


def spread(hidden):
    """(B, H, W, 1) of patches of 8x8 pixels."""
    return hidden.repeat(8, axis=1).repeat(8, axis=2)[..., None]


def encode(fcmae, images, hidden):
    return compute(fcmae.encode, images, hidden)


@each_path
def test_hidden_pixels_change_no_bit_of_encode(rng, make_fcmae, path, hidden):
    fcmae = make_fcmae(kc.Variant((1, 1, 2, 1), (4, 6, 8, 12)), encoder_path=path)
    images, others = rng.normal(size=(2, 2, 16, 24, 3)).astype("float32")
    features = encode(fcmae, images, hidden)
    for content in (others, np.nan, np.inf, 1e30):
        changed = np.where(spread(hidden), content, images).astype("float32")
        np.testing.assert_array_equal(features, encode(fcmae, changed, hidden))
    # And the visible ones do.
    assert (features != encode(fcmae, images + 0.1, hidden)).any()


@each_path
def test_encode_is_zero_where_hidden_and_only_there(rng, make_fcmae, path, hidden):
    images = rng.normal(size=(2, 16, 24, 3)).astype("float32")
    features = encode(make_fcmae(encoder_path=path), images, hidden)
    assert features.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal((features == 0).all(axis=-1), hidden == 1)


@pytest.mark.parametrize("path", ["dense", "visible"])
def test_nothing_hidden_equals_the_unmasked_backbone(rng, make_fcmae, path):
    fcmae = make_fcmae(encoder_path=path)
    images = rng.normal(size=(2, 16, 24, 3)).astype("float32")
    unmasked = compute(fcmae.backbone, images)
    # The same sums; compiled, they may be taken in another order.
    encoded = compute(fcmae.encode, images, hidden=np.zeros_like(HIDDEN))
    np.testing.assert_allclose(encoded, unmasked, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("path", ["dense", "visible"])
def test_a_visible_patch_alone_is_encoded_from_itself_only(rng, make_fcmae, path):
    fcmae = make_fcmae(mask_ratio=0.8, encoder_path=path)
    images = rng.normal(size=(2, 16, 24, 3)).astype("float32")
    moved = np.roll(images, 8, axis=2)
    hidden = np.ones_like(HIDDEN)
    hidden[:, 1, 0] = 0
    features = encode(fcmae, images, hidden)[:, 1, 0]
    features_moved = encode(fcmae, moved, np.roll(hidden, 1, axis=2))[:, 1, 1]
    # Sums over another place in the map may be taken in another order.
    np.testing.assert_allclose(features, features_moved, atol=1e-5)


def test_all_but_one_patch_hidden_gives_finite_values_and_gradients(rng, make_fcmae):
    fcmae = make_fcmae(mask_ratio=0.8)
    images = rng.normal(size=(2, 16, 24, 3)).astype("float32")
    hidden = np.ones_like(HIDDEN)
    hidden[0, 1, 2] = hidden[1, 0, 0] = 0
    assert np.isfinite(encode(fcmae, images, hidden)).all()
    gradients = gradients_of(lambda: fcmae.loss_on(images, hidden), fcmae.trainable_weights)
    for weight, gradient in zip(fcmae.trainable_weights, gradients, strict=True):
        assert np.isfinite(gradient).all(), weight.path


def test_the_prediction_changes_with_the_mask_token(rng, make_fcmae):
    fcmae = make_fcmae(encoder_path="dense")
    images = rng.normal(size=(2, 16, 24, 3)).astype("float32")
    before = compute(fcmae, images, hidden=HIDDEN)["prediction"]
    fcmae.decoder.mask_token.assign(fcmae.decoder.mask_token + 1.0)
    after = compute(fcmae, images, hidden=HIDDEN)["prediction"]
    assert np.abs(after - before)[HIDDEN == 1].max() > 1e-2


@each_path
@pytest.mark.parametrize("normalize_targets", [True, False])
def test_images_are_rebuilt_from_visible_pixels_and_predictions(
    rng, make_fcmae, path, hidden, normalize_targets
):
    fcmae = make_fcmae(encoder_path=path, normalize_targets=normalize_targets)
    images = (3 + 2 * rng.normal(size=(2, 16, 24, 3))).astype("float32")
    results = fcmae.reconstruct(images, hidden)
    pixels = np.broadcast_to(spread(hidden) == 1, images.shape)
    np.testing.assert_array_equal(results["hidden"], hidden)
    np.testing.assert_array_equal(results["masked"], np.where(pixels, 0, images))
    np.testing.assert_array_equal(results["pasted"][~pixels], images[~pixels])
    np.testing.assert_array_equal(results["pasted"][pixels], results["reconstruction"][pixels])
    # A patch of the reconstruction is its prediction, times the original's deviation plus its mean
    # where the targets are normalised by them.
    prediction = compute(fcmae, images, hidden=hidden)["prediction"][0, 1, 1]
    expected, patch = prediction.reshape(8, 8, 3), images[0, 8:16, 8:16]
    if normalize_targets:
        expected = expected * patch.std(ddof=1) + patch.mean()
    # Float32 rounding of values near 10.
    np.testing.assert_allclose(results["reconstruction"][0, 8:16, 8:16], expected, atol=1e-4)
