"""A saved model is compiled as the backend that loads it compiles, unless told otherwise."""

import warnings

import keras
import pytest

import keras_convnextv2 as kc


@pytest.fixture(params=["backbone", "classifier", "fcmae"])
def model(request, make_fcmae):
    fcmae = make_fcmae()
    return {
        "backbone": fcmae.backbone,
        "classifier": kc.ConvNeXtV2Classifier(fcmae.backbone, 3),
        "fcmae": fcmae,
    }[request.param]


def test_the_default_is_saved_as_the_default(model, tmp_path):
    model.compile(optimizer="adam")
    model.optimizer.build(model.trainable_variables)
    assert model.get_compile_config()["jit_compile"] == "auto"
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is type(model.optimizer)
    assert loaded.jit_compile == model.jit_compile == (keras.backend.backend() == "jax")


def test_what_was_asked_for_is_saved_as_it_is(model, tmp_path):
    asked = keras.backend.backend() != "jax"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow on a CPU declines, in `supports_jit`'s words
        model.compile(optimizer="adam", jit_compile=asked)
        model.optimizer.build(model.trainable_variables)
        assert model.get_compile_config()["jit_compile"] is asked
        # On a CPU, XLA's depthwise convolution takes tens of times as long as TensorFlow's own.
        assert model.jit_compile is (keras.backend.backend() == "torch")
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.jit_compile == model.jit_compile


def test_a_model_that_was_not_compiled_has_no_such_config(model):
    assert model.get_compile_config() == {}
