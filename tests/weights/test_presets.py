"""The table of public weights, and what comes along with weights."""

import json

import keras
import numpy as np
import pytest
import safetensors.numpy

import keras_convnextv2 as kc
from tests.reference.compute import compute
from tests.reference.layouts import custom_layout, layout, random_checkpoint
from tests.reference.random_weights import randomize

DEPTHS, WIDTHS = (1, 1, 2, 1), (4, 6, 8, 12)


def make_classifier(num_classes, image_shape=(32, 48, 3), **options):
    variant = kc.Variant(DEPTHS, WIDTHS)
    backbone = kc.ConvNeXtV2Backbone(variant, image_shape, drop_path_rate=0.1, seed=3)
    model = kc.ConvNeXtV2Classifier(backbone, num_classes, **options)
    randomize(model, np.random.default_rng(0))
    return model


@pytest.mark.one_backend
def test_the_table_has_the_hub_s_26_names():
    assert len(kc.PRESETS) == 26
    for handle, preset in kc.PRESETS.items():
        name = handle.removeprefix("hf://timm/convnextv2_")
        variant, _, training = name.partition(".")
        assert variant == preset.variant and preset.variant in kc.VARIANTS
        assert preset.licence == "cc-by-nc-4.0"
        assert ("22K" in preset.training) == ("in22k" in training)
        assert (preset.num_classes is None) == (preset.top_1 is None) == (training == "fcmae")
        size = training.rpartition("_")[2]
        assert preset.image_size == (int(size) if size.isdigit() else 224)


@pytest.mark.one_backend
def test_a_larger_model_is_more_accurate():
    accuracies = [
        kc.PRESETS[f"hf://timm/convnextv2_{size}.fcmae_ft_in1k"].top_1
        for size in ("atto", "femto", "pico", "nano", "tiny", "base", "large", "huge")
    ]
    assert accuracies == sorted(accuracies)


@pytest.mark.one_backend
@pytest.mark.parametrize("suffix", [".safetensors", ".keras"])
def test_class_names_and_image_size_come_along(suffix, tmp_path):
    model = make_classifier(3, class_names=["boot", "coat", "Kleid ü"])
    kc.save_weights(model, tmp_path / f"file{suffix}", format="keras")
    copy = kc.from_preset(tmp_path / f"file{suffix}")
    assert copy.class_names == ("boot", "coat", "Kleid ü")
    sizes = (copy.backbone.image_shape, copy.backbone.training_image_size)
    any_size = (None, None, 3), (32, 48)
    assert sizes == (any_size if suffix == ".safetensors" else ((32, 48, 3), None))
    images = np.random.default_rng(1).normal(size=(2, 32, 48, 3)).astype("float32")
    # Equal programs on equal numbers.
    np.testing.assert_array_equal(compute(copy, images), compute(model, images))


def test_a_keras_file_brings_its_arguments(tmp_path):
    model = make_classifier(3, image_shape=(None, None, 3), activation="softmax")
    model.save(tmp_path / "model.keras")
    copy = kc.from_preset(tmp_path / "model.keras")
    assert copy.activation is keras.activations.softmax
    for name in ("image_shape", "drop_path_rate", "seed", "stem_stride"):
        assert getattr(copy.backbone, name) == getattr(model.backbone, name)


@pytest.mark.one_backend
def test_the_folder_of_a_run_brings_what_its_model_has(tmp_path):
    make_classifier(2, class_names=["boot", "coat"]).save(tmp_path / "model.keras")
    assert kc.from_preset(tmp_path).class_names == ("boot", "coat")


def test_the_class_names_of_a_classifier_follow_its_head(tmp_path):
    kc.save_weights(make_classifier(2, class_names=["boot", "coat"]), tmp_path / "a.safetensors")
    nameless, named = make_classifier(2), make_classifier(2, class_names=["boot", "dress"])
    kc.load_weights(nameless, tmp_path / "a.safetensors")
    assert nameless.class_names == ("boot", "coat")
    with pytest.warns(UserWarning, match="class 1 is 'coat', where the model had 'dress'"):
        kc.load_weights(named, tmp_path / "a.safetensors")
    assert named.class_names == ("boot", "coat")


@pytest.mark.one_backend
def test_class_names_of_another_number_are_not_taken(tmp_path):
    kc.save_weights(make_classifier(3), tmp_path / "a.safetensors", "timm")
    tensors = safetensors.numpy.load_file(tmp_path / "a.safetensors")
    safetensors.numpy.save_file(tensors, tmp_path / "b.safetensors", {"class_names": '["boot"]'})
    assert kc.from_preset(tmp_path / "b.safetensors").class_names is None


@pytest.mark.one_backend
def test_timm_s_folder_has_what_create_model_asks_for(tmp_path, rng):
    checkpoint = random_checkpoint(layout("timm", "atto"), rng)
    safetensors.numpy.save_file(checkpoint, tmp_path / "a.safetensors")
    model = kc.from_preset(tmp_path / "a.safetensors", image_size=(64, 96))
    model.class_names = tuple(f"class {index}" for index in range(1000))
    kc.save_weights(model, tmp_path / "folder", format="timm")
    config = json.loads((tmp_path / "folder" / "config.json").read_text())
    assert config["architecture"] == "convnextv2_atto"
    assert config["num_classes"] == config["pretrained_cfg"]["num_classes"] == 1000
    assert config["pretrained_cfg"]["input_size"] == [3, 64, 96]
    assert config["label_names"][7] == "class 7"
    copy = kc.from_preset(tmp_path / "folder")
    assert copy.class_names == model.class_names
    assert copy.backbone.training_image_size == (64, 96)
    kc.save_weights(copy, tmp_path / "again", format="timm")
    again = json.loads((tmp_path / "again" / "config.json").read_text())
    assert again["pretrained_cfg"]["input_size"] == [3, 64, 96]


@pytest.mark.one_backend
def test_the_licence_is_printed_once_and_stays_with_the_weights(tmp_path, rng, capsys):
    checkpoint = random_checkpoint(layout("timm", "atto"), rng)
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file(checkpoint, path, {"licence": "cc-by-nc-4.0"})
    model = kc.from_preset(path)
    kc.load_weights(model, path)
    assert capsys.readouterr().err.count("CC BY-NC 4.0, no commercial use") == 1
    kc.save_weights(model, tmp_path / "b.safetensors", format="official")
    with safetensors.safe_open(tmp_path / "b.safetensors", "numpy") as file:
        assert file.metadata()["licence"] == "cc-by-nc-4.0"


@pytest.mark.one_backend
def test_weights_that_may_be_meta_s_and_name_no_licence_get_a_word(tmp_path, rng, capsys):
    checkpoint = random_checkpoint(custom_layout("official", DEPTHS, WIDTHS), rng)
    safetensors.numpy.save_file(checkpoint, tmp_path / "own.safetensors")
    kc.from_preset(tmp_path / "own.safetensors")
    assert capsys.readouterr().err == ""
    checkpoint = random_checkpoint(layout("official", "atto"), rng)
    safetensors.numpy.save_file(checkpoint, tmp_path / "atto.safetensors")
    kc.from_preset(tmp_path / "atto.safetensors")
    assert "names no licence. ConvNeXt V2 weights that Meta trained" in capsys.readouterr().err


@pytest.fixture(autouse=True)
def nothing_printed_yet():
    from keras_convnextv2.weights.description import _print_once

    _print_once.cache_clear()


@pytest.mark.one_backend
@pytest.mark.parametrize("size", [64, (64, 96, 3), (8, 96), (64, "wide")])
def test_an_image_size_that_cannot_be(size, tmp_path):
    kc.save_weights(make_classifier(2), tmp_path / "a.safetensors")
    with pytest.raises(kc.WeightsError, match="No model can be built.*Received: "):
        kc.from_preset(tmp_path / "a.safetensors", image_size=size)


def test_a_model_for_images_of_any_size(tmp_path):
    kc.save_weights(make_classifier(2), tmp_path / "a.safetensors")
    model = kc.from_preset(tmp_path / "a.safetensors", image_size=(None, 96))
    assert model.backbone.image_shape == (None, 96, 3)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("names", "message"),
    [(["a"], "must be 2 strings"), ("ab", "must be 2 strings"), ([1, 2], "must be 2 strings")],
)
def test_class_names_that_cannot_be(names, message):
    with pytest.raises(ValueError, match=message):
        make_classifier(2, class_names=names)
