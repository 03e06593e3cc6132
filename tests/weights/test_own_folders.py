"""A model's own folder gives the same model again."""

import json

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from tests.reference.random_weights import randomize

SMALL = kc.Variant(depths=(1, 1, 2, 1), widths=(4, 6, 8, 12))


def make_backbone(size=(32, 32), channels=3, **options):
    backbone = kc.ConvNeXtV2Backbone(SMALL, (*size, channels), stem_stride=2, **options)
    backbone.normalisation = (0.25,) * channels, (0.5,) * channels
    return backbone


def make_classifier(**options):
    return kc.ConvNeXtV2Classifier(
        make_backbone(drop_path_rate=0.25, **options),
        num_classes=3,
        class_names=["boot", "coat", "dress"],
    )


def saved(model, path):
    randomize(model, np.random.default_rng(0))
    kc.save_weights(model, path)
    return kc.from_preset(path)


def assert_same_weights(one, other):
    for expected, weight in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(expected.value), keras.ops.convert_to_numpy(weight.value)
        )


def test_a_classifier_with_all_that_it_says(tmp_path):
    model = make_classifier()
    model.temperature = 1.5
    model.backbone.licence = "mit"
    model.backbone.pixel_range = (0, 4095)
    model.backbone.trainable = False
    copy = saved(model, tmp_path / "boots")
    assert_same_weights(model, copy)
    assert copy.class_names == ("boot", "coat", "dress") and copy.temperature == 1.5
    assert copy.backbone.licence == "mit" and copy.backbone.pixel_range == (0, 4095)
    assert copy.backbone.normalisation == ((0.25,) * 3, (0.5,) * 3)
    assert copy.backbone.image_shape == (32, 32, 3)
    assert len(copy.trainable_weights) == len(model.trainable_weights) < len(model.weights)
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(model.predict(images, verbose=0), copy.predict(images, verbose=0))
    assert sorted(path.name for path in (tmp_path / "boots").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


def test_an_fcmae_comes_with_its_decoder(tmp_path):
    fcmae = kc.FCMAE(make_backbone(), decoder_width=8, decoder_depth=2, mask_ratio=0.5)
    copy = saved(fcmae, tmp_path / "masked")
    assert isinstance(copy, kc.FCMAE) and copy.mask_ratio == 0.5
    assert_same_weights(fcmae.decoder, copy.decoder)
    assert isinstance(kc.from_preset(tmp_path / "masked", head=False), kc.ConvNeXtV2Backbone)
    other = kc.FCMAE(make_backbone(), decoder_width=8, decoder_depth=2)
    assert kc.load_weights(other, tmp_path / "masked").new == ()
    assert_same_weights(fcmae, other)


@pytest.mark.one_backend
def test_blocks_sizes_and_policies_of_ones_own(tmp_path):
    block = kc.BlockSpec(response="none", layer_scale=0.5)
    variant = kc.Variant(SMALL.depths, SMALL.widths, block)
    backbone = kc.ConvNeXtV2Backbone(variant, (None, None, 1), dtype="mixed_bfloat16")
    copy = saved(backbone, tmp_path / "other.blocks.7")  # with the ending of no file
    assert copy.variant == variant and copy.image_shape == (None, None, 1)
    assert copy.dtype_policy.name == "mixed_bfloat16"
    assert_same_weights(backbone, copy)


@pytest.mark.one_backend
def test_a_head_keeps_its_activation(tmp_path):
    model = kc.ConvNeXtV2Classifier(make_backbone(), 3, activation="softmax")
    copy = saved(model, tmp_path / "softmax")
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    outputs = copy.predict(images, verbose=0)
    np.testing.assert_array_equal(outputs, model.predict(images, verbose=0))
    np.testing.assert_allclose(outputs.sum(-1), 1, rtol=1e-6)


@pytest.mark.one_backend
def test_a_runs_folder_is_that_of_its_model(tmp_path):
    backbone = saved(make_backbone(), tmp_path / "run" / "model")
    assert_same_weights(backbone, kc.from_preset(tmp_path / "run"))


@pytest.mark.one_backend
def test_a_model_is_replaced_and_nothing_else_is(tmp_path):
    folder = tmp_path / "model"
    saved(make_backbone(), folder)
    assert_same_weights(saved(classifier := make_classifier(), folder), classifier)
    (folder / "notes.txt").write_text("precious")
    with pytest.raises(kc.WeightsError, match="something other than a model. Name a new folder"):
        kc.save_weights(classifier, folder)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(kc.WeightsError, match="something other than a model"):
        kc.save_weights(classifier, tmp_path / "file")
    assert {path.name for path in tmp_path.iterdir()} == {"model", "file"}
    assert (folder / "notes.txt").read_text() == (tmp_path / "file").read_text() == "precious"


@pytest.mark.one_backend
def test_a_folder_has_the_models_dtype(tmp_path):
    with pytest.raises(kc.WeightsError, match="dtype"):
        kc.save_weights(make_backbone(), tmp_path / "half", dtype="float16")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.one_backend
def test_a_hostile_config_is_refused(tmp_path):
    saved(make_backbone(), tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    said = json.loads(config.read_text())
    said["config"]["image_shape"] = [1 << 40, 32, 3]
    config.write_text(json.dumps(said))
    with pytest.raises(kc.WeightsError, match="config.json was refused: its image_shape is"):
        kc.from_preset(tmp_path / "model")
