"""`model.quantize` on the linear layers: what it keeps, what it saves, what it refuses."""

import gc

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.export import export_model
from tests.reference.random_weights import randomize


@pytest.fixture(scope="module", autouse=True)
def collect_only_what_is_made_here():
    """Keras collects garbage after each layer that it quantizes, in a process of many objects."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def make_classifier(rng):
    def make():
        backbone = kc.ConvNeXtV2Backbone(kc.Variant((1, 1, 2, 1), (16, 24, 32, 64)), (64, 96, 3))
        model = kc.ConvNeXtV2Classifier(backbone, 10)
        randomize(model, np.random.default_rng(0))
        return model

    return make


def outputs(model, images):
    return model.predict(images, verbose=0)


def linear_layers(model):
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dense)]


def bytes_of_linear_layers(model):
    return sum(array.nbytes for layer in linear_layers(model) for array in layer.get_weights())


# Relative to the spread of the logits; measured 0.02 and 0.13.
@pytest.mark.parametrize(
    ("mode", "tolerance"),
    [("int8", 0.05), pytest.param("int4", 0.4, marks=pytest.mark.one_backend)],
)
def test_a_quantized_model_is_close_small_and_survives_saving(
    mode, tolerance, make_classifier, rng, tmp_path
):
    images = rng.standard_normal((4, 64, 96, 3)).astype("float32")
    model = make_classifier()
    expected = outputs(model, images)
    bytes_before = bytes_of_linear_layers(model)
    model.quantize(mode)
    found = outputs(model, images)
    error = np.abs(found - expected).max()
    assert 0 < error < tolerance * expected.std()
    assert [layer.quantization_mode for layer in linear_layers(model)] == [mode] * (2 * 5 + 1)
    # A byte or half of one instead of four, and scales.
    assert bytes_of_linear_layers(model) < {"int8": 0.3, "int4": 0.2}[mode] * bytes_before
    model.save(tmp_path / "quantized.keras")
    loaded = keras.saving.load_model(tmp_path / "quantized.keras")
    np.testing.assert_array_equal(outputs(loaded, images), found)


@pytest.mark.one_backend
def test_layers_can_be_left_out(make_classifier, rng, tmp_path):
    images = rng.standard_normal((2, 64, 96, 3)).astype("float32")
    model = make_classifier()
    model.quantize("int8", filters=lambda layer: layer.name != "head")
    assert model.get_layer("head").quantization_mode is None
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("head").quantization_mode is None
    np.testing.assert_array_equal(outputs(loaded, images), outputs(model, images))


def test_a_float_model_says_nothing_of_quantization(make_classifier):
    config = make_classifier().get_config()
    assert "quantization" not in config
    assert "quantization" not in config["backbone"]["config"]


@pytest.mark.parametrize("part", ["all", "head", "backbone"])
def test_a_quantized_model_is_not_taken_for_its_weights(make_classifier, tmp_path, part):
    model = make_classifier()
    chosen = {"all": (True, False), "head": (True,), "backbone": (False,)}[part]
    model.quantize("int8", filters=lambda layer: (layer.name == "head") in chosen)
    make_classifier().save(tmp_path / "float.keras")
    for call in (
        lambda: kc.save_weights(model, tmp_path / "weights.safetensors"),
        lambda: kc.load_weights(model, tmp_path / "float.keras"),
        lambda: export_model(model, tmp_path / "model.tflite"),
    ):
        with pytest.raises(ValueError, match="are quantized"):
            call()
    model.save(tmp_path / "model.keras")
    with pytest.raises(kc.WeightsError, match="its linear layers are quantized"):
        kc.from_preset(tmp_path / "model.keras")
