"""Models in `.keras` files, on one backend."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.training.optimizers import adamw
from tests.reference.compute import compute
from tests.reference.random_weights import named_weights, randomize

IMAGES = np.random.default_rng(4).normal(size=(4, 16, 24, 3)).astype("float32")


def saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.saving.load_model(tmp_path / "model.keras")


def test_fcmae_comes_back_with_weights_arguments_and_masks(tmp_path, make_fcmae):
    arguments = {
        "mask_ratio": 0.5,
        "decoder_width": 6,
        "decoder_depth": 2,
        "normalize_targets": False,
        "encoder_path": "dense",
        "seed": 3,
        "name": "renamed",
        "trainable": True,
    }
    fcmae = make_fcmae(**arguments)
    fcmae.step.assign(7)
    copy = saved_and_loaded(fcmae, tmp_path)
    assert {name: getattr(copy, name) for name in arguments} == arguments
    assert copy.backbone.variant == fcmae.backbone.variant
    assert copy.backbone.image_shape == (16, 24, 3)
    assert int(copy.step.numpy()) == 7
    outputs, expected = compute(copy, IMAGES), compute(fcmae, IMAGES)
    for name, output in outputs.items():  # equal programs on equal numbers
        np.testing.assert_array_equal(output, expected[name])


def test_the_dtype_policy_comes_back(tmp_path, make_fcmae):
    copy = saved_and_loaded(make_fcmae(dtype="mixed_bfloat16"), tmp_path)
    assert copy.dtype_policy.name == copy.backbone.dtype_policy.name == "mixed_bfloat16"
    assert copy.decoder.compute_dtype == "bfloat16"


@pytest.mark.parametrize("kind", ["backbone", "classifier"])
def test_backbone_and_classifier_come_back(tmp_path, make_fcmae, kind):
    model = make_fcmae().backbone
    if kind == "classifier":
        model = kc.ConvNeXtV2Classifier(model, 5, activation="softmax")
        randomize(model, np.random.default_rng(1))
    copy = saved_and_loaded(model, tmp_path)
    assert type(copy) is type(model)
    np.testing.assert_array_equal(  # equal programs on equal numbers
        compute(copy, IMAGES), compute(model, IMAGES)
    )


@pytest.mark.slow
def test_a_loaded_fcmae_goes_on_training_as_if_it_had_not_stopped(tmp_path, make_fcmae):
    def fit(model, epochs):
        options = {"batch_size": 2, "shuffle": False, "verbose": 0}
        return model.fit(IMAGES, epochs=epochs, **options).history["loss"]

    whole, stopped = (make_fcmae(drop_path_rate=0.3) for _ in range(2))
    for model in (whole, stopped):
        model.compile(optimizer=adamw(model, 1e-2, 0.5))
    expected = fit(whole, 3)
    first = fit(stopped, 2)
    loaded = saved_and_loaded(stopped, tmp_path)
    rest = fit(loaded, 1)
    # Equal programs on equal numbers; float32 sums may be split differently among threads.
    np.testing.assert_allclose(first + rest, expected, rtol=1e-6)
    assert int(loaded.optimizer.iterations.numpy()) == 6
    for path, value in named_weights(loaded).items():
        np.testing.assert_allclose(
            value, named_weights(whole)[path], rtol=1e-5, atol=1e-6, err_msg=path
        )
