"""Patches of several times the total stride: hidden, predicted and paid for as one."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.fcmae.loss import hidden_patch_loss, normalize_patches
from keras_convnextv2.fcmae.patches import patchify
from tests.reference.both_paths import assert_equal_on_both_paths
from tests.reference.compute import compute
from tests.reference.random_weights import randomize

SIZES = kc.Variant((1, 1, 2, 1), (4, 6, 8, 12))


def make(path="visible", patch_size=16, image_shape=(32, 48, 3), **options):
    backbone = kc.ConvNeXtV2Backbone(SIZES, image_shape, stem_stride=1)  # total stride 8
    options = {"decoder_width": 8, "encoder_path": path, "patch_size": patch_size, **options}
    fcmae = kc.FCMAE(backbone, **options)
    randomize(fcmae, np.random.default_rng(1))
    return fcmae


@pytest.mark.one_backend
def test_shapes_and_numbers_are_those_of_the_patches(rng):
    fcmae = make()
    assert (fcmae.patch_size, fcmae.grid, fcmae.num_patches) == (16, (2, 3), 6)
    assert fcmae.num_visible == 2
    images = rng.normal(size=(2, 32, 48, 3)).astype("float32")
    outputs = compute(fcmae, images)
    assert outputs["hidden"].shape == (2, 2, 3)
    assert outputs["prediction"].shape == (2, 2, 3, 16 * 16 * 3)
    encoded = compute(fcmae.encode, images, outputs["hidden"])
    assert encoded.shape == (2, 4, 6, 12)
    spread = np.kron(outputs["hidden"], np.ones((1, 2, 2)))
    np.testing.assert_array_equal((encoded == 0).all(axis=-1), spread == 1)


def test_loss_and_every_gradient_are_equal_on_both_paths(rng):
    images = rng.normal(size=(3, 32, 48, 3)).astype("float32")
    assert_equal_on_both_paths([make("visible"), make("dense")], images)


def test_the_loss_is_that_of_whole_patches(rng):
    fcmae = make("dense")
    images = rng.normal(size=(2, 32, 48, 3)).astype("float32")
    hidden = np.array([[[1, 0, 1], [0, 1, 1]], [[0, 0, 1], [1, 1, 1]]], "int32")
    prediction = compute(fcmae, images, hidden=hidden)["prediction"]
    targets = normalize_patches(patchify(images, 16))  # by the mean and deviation of each 16x16
    expected = keras.ops.convert_to_numpy(hidden_patch_loss(targets, prediction, hidden))
    np.testing.assert_allclose(compute(fcmae.loss_on, images, hidden), expected, rtol=1e-5)


def test_each_position_of_the_last_map_predicts_its_own_pixels(rng):
    """The decoder's weights do not know the patch: it is the same prediction, put otherwise."""
    images = rng.normal(size=(2, 32, 48, 3)).astype("float32")
    hidden = np.array([[[1, 0, 1], [0, 1, 1]], [[0, 0, 1], [1, 1, 1]]], "int32")
    coarse, fine = make("dense"), make("dense", patch_size=8)
    fine.set_weights(coarse.get_weights())
    spread = np.kron(hidden, np.ones((1, 2, 2), "int32"))
    one = coarse.reconstruct(images, hidden)["hidden"]
    np.testing.assert_array_equal(one, hidden)
    pixels = []
    for fcmae, mask in ((coarse, hidden), (fine, spread)):
        fcmae.normalize_targets = False
        pixels.append(fcmae.reconstruct(images, mask)["reconstruction"])
    np.testing.assert_allclose(*pixels, rtol=1e-5, atol=1e-5)


def test_it_trains_reconstructs_and_comes_back(rng, tmp_path):
    fcmae = make()
    images = rng.normal(size=(4, 32, 48, 3)).astype("float32")
    fcmae.compile(optimizer=keras.optimizers.SGD(0.05))
    assert np.isfinite(fcmae.fit(images, batch_size=4, verbose=0).history["loss"]).all()
    results = fcmae.reconstruct(images)
    pixels = np.kron(results["hidden"], np.ones((1, 16, 16)))[..., None] == 1
    np.testing.assert_array_equal(results["masked"], np.where(pixels, 0, images))
    fcmae.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert copy.patch_size == 16
    np.testing.assert_array_equal(
        compute(copy, images)["prediction"], compute(fcmae, images)["prediction"]
    )


@pytest.mark.one_backend
@pytest.mark.parametrize("patch_size", [12, 4, 0, 16.0])
def test_a_patch_must_be_a_multiple_of_the_stride(patch_size):
    with pytest.raises(ValueError, match="multiple of the backbone's total stride, 8 .*Received"):
        make(patch_size=patch_size)


@pytest.mark.one_backend
def test_images_must_be_multiples_of_the_patch():
    message = r"multiples of the patch size, 16 pixels.*\(40, 48, 3\).*nearest size is 32 x 48"
    with pytest.raises(ValueError, match=message):
        make(image_shape=(40, 48, 3))
