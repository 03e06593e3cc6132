"""Which values were black and white in a model's images goes along with its weights."""

import json
import zipfile

import keras
import pytest

import keras_convnextv2 as kc
from tests.reference.small_files import small_classifier


@pytest.fixture
def classifier(rng):
    classifier = small_classifier(rng)
    classifier.backbone.pixel_range = (-1024, 3071.5)
    return classifier


@pytest.mark.parametrize("name", ["model.keras", "model.safetensors"])
def test_a_file_says_it_and_a_model_that_loads_it_knows_it(classifier, name, tmp_path, rng):
    kc.save_weights(classifier, tmp_path / name)
    assert kc.from_preset(tmp_path / name).backbone.pixel_range == (-1024, 3071.5)
    other = small_classifier(rng)
    kc.load_weights(other, tmp_path / name)
    assert other.backbone.pixel_range == (-1024, 3071.5)


def test_a_file_of_images_of_8_bits_says_none(classifier, tmp_path, rng):
    kc.save_weights(small_classifier(rng), tmp_path / "model.safetensors")
    kc.load_weights(classifier, tmp_path / "model.safetensors")
    assert classifier.backbone.pixel_range is None


def test_keras_itself_keeps_it_in_files_and_configurations(classifier, tmp_path):
    classifier.save(tmp_path / "model.keras")
    fcmae = kc.FCMAE(classifier.backbone, mask_ratio=0.5, decoder_width=8)
    fcmae.save(tmp_path / "fcmae.keras")
    copies = [
        keras.saving.load_model(tmp_path / "model.keras"),
        keras.saving.load_model(tmp_path / "fcmae.keras"),
        type(classifier).from_config(classifier.get_config()),
    ]
    assert [copy.backbone.pixel_range for copy in copies] == [(-1024, 3071.5)] * 3


@pytest.mark.parametrize("value", ["0,4095", 4095, [4095, 0], [0, 1, 2], [0, True], [0, "1"]])
def test_what_is_no_range_is_refused(classifier, tmp_path, value):
    with pytest.raises(ValueError, match="such as 0 and 4095. Received: "):
        classifier.backbone.pixel_range = value
    path = tmp_path / "model.keras"
    classifier.save(path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(entries["config.json"])
    config["config"]["backbone"]["config"]["pixel_range"] = value
    entries["config.json"] = json.dumps(config)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(kc.WeightsError, match="such as 0 and 4095. Received: "):
        kc.from_preset(path)
