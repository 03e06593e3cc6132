"""What a model's images are normalised with goes along with its weights."""

import json
import zipfile

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.data import IMAGENET_MEAN, IMAGENET_STD
from keras_convnextv2.models.normalisation import checked_normalisation
from keras_convnextv2.weights.files import open_weights
from tests.reference.small_files import small_classifier

NORMALISATION = (0.25, 0.5, 0.125), (0.75, 0.375, 0.0625)
IMPOSSIBLE = {
    "a word": "imagenet",
    "a number": 0.5,
    "one list": [[0.5, 0.5, 0.5]],
    "three lists": [[0.5] * 3] * 3,
    "words for numbers": [["0.5"] * 3, ["0.5"] * 3],
    "no numbers": [[], []],
    "a mapping": {"mean": [0.5] * 3, "std": [0.5] * 3},
    "lists in lists": [[[0.5]] * 3, [[0.5]] * 3],
    "true": [[True] * 3, [True] * 3],
    "NaN": [[float("nan"), 0, 0], [1, 1, 1]],
    "infinite": [[0, 0, 0], [1, 1, float("inf")]],
    "too large for a float": [[10**400, 0, 0], [1, 1, 1]],
    "a deviation of zero": [[0, 0, 0], [1, 0, 1]],
    "a negative deviation": [[0, 0, 0], [1, -1, 1]],
    "two channels and three": [[0, 0], [1, 1, 1]],
}


@pytest.fixture
def classifier(rng):
    classifier = small_classifier(rng)
    classifier.backbone.normalisation = NORMALISATION
    return classifier


def change_config(path, changed):
    """Replaces what the configuration in a .keras file says of the normalisation."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(entries["config.json"])
    config["config"]["backbone"]["config"]["normalisation"] = changed
    entries["config.json"] = json.dumps(config)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("name", ["model.keras", "model.safetensors"])
def test_a_file_says_it_and_a_model_that_loads_it_knows_it(classifier, name, tmp_path, rng):
    kc.save_weights(classifier, tmp_path / name)
    assert kc.from_preset(tmp_path / name).backbone.normalisation == NORMALISATION
    other = small_classifier(rng)
    kc.load_weights(other, tmp_path / name)
    assert other.backbone.normalisation == NORMALISATION


def test_keras_itself_keeps_it_in_files_and_configurations(classifier, tmp_path):
    classifier.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    copies = [loaded, type(classifier).from_config(classifier.get_config())]
    fcmae = kc.FCMAE(classifier.backbone, mask_ratio=0.5, decoder_width=8)
    fcmae.save(tmp_path / "fcmae.keras")
    copies.append(keras.saving.load_model(tmp_path / "fcmae.keras"))
    assert [copy.backbone.normalisation for copy in copies] == [NORMALISATION] * 3
    cloned = keras.models.clone_model(classifier)  # of no class of ours, but for the backbone
    (backbone,) = (layer for layer in cloned.layers if layer.name == classifier.backbone.name)
    assert backbone.normalisation == NORMALISATION
    assert kc.from_preset(tmp_path / "fcmae.keras").normalisation == NORMALISATION


def test_weights_of_which_a_file_says_nothing_are_of_unknown_images(classifier, tmp_path):
    """Not of those that the model's earlier weights were trained on."""
    classifier.save_weights(tmp_path / "model.weights.h5")
    kc.load_weights(classifier, tmp_path / "model.weights.h5")
    assert classifier.backbone.normalisation is None
    classifier.save(tmp_path / "model.keras")
    assert kc.from_preset(tmp_path / "model.keras").backbone.normalisation is None


@pytest.mark.one_backend
@pytest.mark.parametrize("value", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_model_refuses_what_is_no_normalisation(classifier, value):
    with pytest.raises(ValueError, match=r"must be \(mean, std\), each 3 finite number.*Received"):
        classifier.backbone.normalisation = value
    assert classifier.backbone.normalisation == NORMALISATION


@pytest.mark.one_backend
@pytest.mark.parametrize("value", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_keras_file_that_says_nonsense_is_refused(classifier, value, tmp_path):
    path = tmp_path / "model.keras"
    classifier.save(path)
    change_config(path, value)
    with pytest.raises(kc.WeightsError, match=r"model.keras was refused: .*must be \(mean, std\)"):
        kc.from_preset(path)


@pytest.mark.one_backend
@pytest.mark.parametrize("text", [*map(json.dumps, IMPOSSIBLE.values()), "[" * 100_000, "nonsense"])
def test_a_safetensors_file_that_says_nonsense_is_refused(text, tmp_path):
    import safetensors.numpy

    path = tmp_path / "model.safetensors"
    tensors = {"w": np.zeros(3, "float32")}
    safetensors.numpy.save_file(tensors, path, {"normalisation": text})
    with pytest.raises(kc.WeightsError, match="model.safetensors"):
        open_weights(path)


@pytest.mark.parametrize("name", ["model.keras", "model.safetensors"])
def test_numbers_for_other_channels_are_refused_before_a_weight_changes(
    classifier, name, tmp_path, rng, monkeypatch
):
    path = tmp_path / name
    two = ((0.5, 0.5), (0.25, 0.25))
    if name == "model.keras":
        classifier.save(path)
        change_config(path, two)
    else:
        monkeypatch.setattr(classifier.backbone, "_normalisation", two)
        kc.save_weights(classifier, path)
    message = r"images of 3 channel\(s\) and the normalisation of 2"
    with pytest.raises(kc.WeightsError, match=message):
        kc.from_preset(path)
    other = small_classifier(np.random.default_rng(9))
    before = other.get_weights()
    with pytest.raises(kc.WeightsError, match=message):
        kc.load_weights(other, path)
    for weight, value in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.one_backend
def test_a_timm_folder_says_it_as_timm_does(tmp_path):
    with keras.StatelessScope():
        backbone = kc.ConvNeXtV2Backbone("atto", (64, 64, 3))
    backbone.normalisation = NORMALISATION
    folder = tmp_path / "folder"
    kc.save_weights(backbone, folder, format="timm")
    config = json.loads((folder / "config.json").read_text())
    assert config["pretrained_cfg"]["mean"] == list(NORMALISATION[0])
    assert config["pretrained_cfg"]["std"] == list(NORMALISATION[1])
    config["pretrained_cfg"] |= {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}
    (folder / "config.json").write_text(json.dumps(config))
    strip_metadata(folder / "model.safetensors")
    assert open_weights(folder).description.normalisation == (IMAGENET_MEAN, IMAGENET_STD)
    config["pretrained_cfg"]["input_size"] = [1, 64, 64]  # of another number of channels
    (folder / "config.json").write_text(json.dumps(config))
    assert open_weights(folder).description.normalisation is None
    config["pretrained_cfg"] |= {"input_size": [3, 64, 64], "std": [0, 0, 0]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(kc.WeightsError, match="std positive"):
        open_weights(folder)


def strip_metadata(path):
    import safetensors.numpy

    safetensors.numpy.save_file(safetensors.numpy.load_file(path), path)


@pytest.mark.one_backend
def test_numbers_of_any_kind_become_floats():
    mean, std = checked_normalisation([np.full(2, 0.5, "float32"), (1, 2)], channels=2)
    assert (mean, std) == ((0.5, 0.5), (1.0, 2.0))
    assert {type(value) for value in (*mean, *std)} == {float}
    assert checked_normalisation(None) is None
