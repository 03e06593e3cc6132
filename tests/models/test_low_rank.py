"""LoRA on linear layers (`enable_lora`): what is saved and exported computes what they do."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.export import export_model, open_artefact, to_keras_hub, to_tf_keras
from keras_convnextv2.weights.model_weights import named_weights
from tests.reference.random_weights import randomize

FORMATS = ("official", "timm", "transformers", "mmpretrain")


@pytest.fixture
def images(rng):
    return rng.standard_normal((2, 32, 64, 3)).astype("float32")


def make_classifier(seed=0, dtype=None):
    backbone = kc.ConvNeXtV2Backbone(
        kc.Variant((1, 1, 2, 1), (16, 24, 32, 64)), (32, 64, 3), dtype=dtype
    )
    model = kc.ConvNeXtV2Classifier(backbone, 10)
    randomize(model, np.random.default_rng(seed))
    return model


def with_lora(model, seed=1, alpha=None):
    """A model of which some linear layers have LoRA, as after a training of it."""
    layers = [model.get_layer("head")] if hasattr(model, "num_classes") else []
    backbone = getattr(model, "backbone", model)
    layers += [backbone.get_layer("stage0_block0").expand]
    layers += [backbone.get_layer("stage2_block1").project]
    rng = np.random.default_rng(seed)
    for layer in layers:
        layer.enable_lora(4, lora_alpha=alpha)
        for matrix in (layer.lora_kernel_a, layer.lora_kernel_b):
            matrix.assign(0.3 * rng.standard_normal(tuple(matrix.shape)))
    return model


def outputs(model, images):
    return model.predict(images, verbose=0)


@pytest.fixture
def adapted(images):
    """(model, its outputs), which are not those without LoRA."""
    before = outputs(make_classifier(), images)
    model = with_lora(make_classifier(), alpha=8)
    expected = outputs(model, images)
    assert np.abs(expected - before).max() > 0.1 * before.std()
    return model, expected


@pytest.mark.parametrize(
    "format",
    ["keras", *(pytest.param(name, marks=pytest.mark.one_backend) for name in FORMATS)],
)
def test_every_format_holds_what_the_layers_compute_with(format, adapted, images, tmp_path):
    model, expected = adapted
    kc.save_weights(model, tmp_path / "model.safetensors", format=format)
    built = kc.from_preset(tmp_path / "model.safetensors", image_size=(32, 64))
    np.testing.assert_allclose(outputs(built, images), expected, atol=1e-5)


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5", "model.pt"])
def test_every_kind_of_our_own_files_does(name, adapted, images, tmp_path):
    model, expected = adapted
    kc.save_weights(model, tmp_path / name)
    built = kc.from_preset(tmp_path / name, image_size=(32, 64))
    np.testing.assert_allclose(outputs(built, images), expected, atol=1e-5)
    if name == "model.keras":
        loaded = keras.saving.load_model(tmp_path / name)
        np.testing.assert_allclose(outputs(loaded, images), expected, atol=1e-5)


@pytest.mark.one_backend
def test_a_pretraining_with_a_decoder_does(images, tmp_path):
    fcmae = kc.FCMAE(with_lora(make_classifier().backbone), 0.5, decoder_width=8)
    randomize(fcmae.decoder, np.random.default_rng(2))
    kc.save_weights(fcmae, tmp_path / "model.safetensors", format="minkowski")
    other = kc.FCMAE(make_classifier(seed=3).backbone, 0.5, decoder_width=8)
    kc.load_weights(other, tmp_path / "model.safetensors")
    found, expected = (
        keras.ops.convert_to_numpy(model(images)["prediction"]) for model in (other, fcmae)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["model.tflite", "model.onnx", "model.keras"])
def test_exports_do(name, adapted, images, tmp_path):
    model, expected = adapted
    export_model(model, tmp_path / name)  # which compares with a copy of the model
    if name != "model.keras":
        np.testing.assert_allclose(open_artefact(tmp_path / name)(images), expected, atol=1e-4)


@pytest.mark.one_backend
def test_other_libraries_models_do(adapted, images):
    model, expected = adapted
    np.testing.assert_allclose(to_tf_keras(model)(images), expected, atol=1e-4)
    features = outputs(model.backbone, images)
    np.testing.assert_array_equal(outputs(to_keras_hub(model.backbone), images), features)


def test_loaded_weights_are_what_the_layers_compute_with(adapted, images, tmp_path):
    other = make_classifier(seed=5)
    kc.save_weights(other, tmp_path / "model.safetensors")
    model, _ = adapted
    kc.load_weights(model, tmp_path / "model.safetensors")
    np.testing.assert_allclose(outputs(model, images), outputs(other, images), atol=1e-5)
    # And LoRA can go on: one of the two matrices has a gradient.
    assert np.any(keras.ops.convert_to_numpy(model.get_layer("head").lora_kernel_a))


def test_under_mixed_precision_the_sum_keeps_the_kernel_s_dtype(images, tmp_path):
    model = with_lora(make_classifier(dtype="mixed_bfloat16"))
    layer = model.backbone.get_layer("stage0_block0").expand
    kernel, first, second = (
        keras.ops.convert_to_numpy(weight)
        for weight in (layer._kernel, layer.lora_kernel_a, layer.lora_kernel_b)
    )
    merged = named_weights(model)["stage0_block0/expand/kernel"]
    assert keras.backend.standardize_dtype(merged.dtype) == "float32"
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(merged.value), kernel + first @ second, rtol=1e-5, atol=1e-6
    )
    expected = outputs(model, images)
    kc.save_weights(model, tmp_path / "model.safetensors")
    built = kc.from_preset(tmp_path / "model.safetensors", (32, 64), dtype="mixed_bfloat16")
    np.testing.assert_allclose(outputs(built, images), expected, atol=0.02 * np.ptp(expected))
