"""Hugging Face's transformers: its folders give its numbers here, and ours give ours there."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers

import keras_convnextv2 as kc
from keras_convnextv2.weights.errors import WeightsError
from tests.reference.compute import compute
from tests.reference.random_weights import named_weights
from tests.reference.transformers_model import make_reference, run_reference

VARIANT = kc.Variant((1, 1, 2, 1), (8, 12, 20, 28))
IMAGE_SHAPE = (64, 96, 3)
IMAGES = np.random.default_rng(1).normal(size=(3, *IMAGE_SHAPE)).astype("float32")
CLASS_NAMES = ("tench", "crane", "goose", "crane", "hen")  # one twice, as in ImageNet
NAMED = {"id2label": dict(enumerate(CLASS_NAMES)), "image_size": list(IMAGE_SHAPE[:2])}
# Float32 against float32, values near 1; the project's bound for parity.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def reference():
    return make_reference(VARIANT, len(CLASS_NAMES), **NAMED)


@pytest.fixture(scope="module")
def folder(reference, tmp_path_factory):
    path = tmp_path_factory.mktemp("transformers") / "model"
    reference.save_pretrained(path)
    return path


def assert_close(ours, theirs):
    theirs = theirs.float().numpy()
    assert theirs.std() > 0.1  # or closeness would mean little
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)


def assert_same_weights(model, other):
    theirs = named_weights(other)
    for path, value in named_weights(model).items():
        np.testing.assert_array_equal(value, theirs.pop(path), err_msg=path)
    assert not theirs


# The epsilon of the LayerNorm before the head is 1e-12 by transformers' default, 1e-6 here and in
# the official code. Over pooled features of variance v (here 0.6 or more) that scales logits by
# 1 - 1e-6 / (2 v): measured, 1.2e-6 here and on atto, no more than rounding.
@pytest.mark.parametrize("epsilon", [1e-6, 1e-12])
def test_a_folder_of_theirs_gives_their_logits(epsilon, tmp_path):
    reference = make_reference(VARIANT, 5, **NAMED, layer_norm_eps=epsilon)
    reference.save_pretrained(tmp_path)
    model = kc.from_preset(tmp_path)
    assert_close(compute(model, IMAGES), run_reference(reference, IMAGES).logits)
    assert model.backbone.training_image_size == IMAGE_SHAPE[:2]
    assert model.class_names == CLASS_NAMES


@pytest.mark.one_backend
@pytest.mark.slow
def test_a_folder_of_a_named_size_gives_their_logits_and_comes_back(tmp_path):
    reference = make_reference(kc.VARIANTS["atto"], 1000)
    reference.save_pretrained(tmp_path / "theirs")
    model = kc.from_preset(tmp_path / "theirs", image_size=IMAGE_SHAPE[:2])
    assert model.backbone.get_config()["variant"] == "atto"
    logits = compute(model, IMAGES)
    assert_close(logits, run_reference(reference, IMAGES).logits)
    kc.save_weights(model, tmp_path / "ours", format="transformers")
    assert_close(logits, run_reference(load(tmp_path / "ours"), IMAGES).logits)


def load(folder, kind="ConvNextV2ForImageClassification", missing=(), **options):
    """Their model from a folder of ours, of which it misses or leaves nothing else."""
    model, report = getattr(transformers, kind).from_pretrained(
        folder, output_loading_info=True, **options
    )
    expected = {"missing_keys": set(missing)}
    for name in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        assert set(report[name]) == expected.get(name, set())
    return model.eval()


def test_a_folder_of_ours_gives_our_logits_there(folder, tmp_path):
    model = kc.from_preset(folder)
    kc.save_weights(model, tmp_path / "ours", format="transformers")
    theirs = load(tmp_path / "ours")
    assert_close(compute(model, IMAGES), run_reference(theirs, IMAGES).logits)
    assert theirs.config.id2label == dict(enumerate(CLASS_NAMES))
    assert theirs.config.image_size == list(IMAGE_SHAPE[:2])
    assert theirs.config.layer_norm_eps == 1e-6  # transformers' default would not be ours


def test_a_folder_of_ours_in_half_precision_loads_as_such(folder, tmp_path):
    kc.save_weights(kc.from_preset(folder), tmp_path / "a", "transformers", dtype="bfloat16")
    theirs = load(tmp_path / "a", dtype="auto")
    assert {weight.dtype for weight in theirs.parameters()} == {torch.bfloat16}


def test_placeholders_are_no_class_names_in_either_direction(tmp_path):
    make_reference(VARIANT, 3).save_pretrained(tmp_path / "theirs")
    model = kc.from_preset(tmp_path / "theirs")
    assert model.class_names is None
    assert model.backbone.training_image_size == (224, 224)  # transformers' default
    kc.save_weights(model, tmp_path / "ours", format="transformers")
    assert load(tmp_path / "ours").config.id2label == {n: f"LABEL_{n}" for n in range(3)}
    assert kc.from_preset(tmp_path / "ours").class_names is None


def test_another_stem_and_other_channels_are_told_in_both_directions(tmp_path):
    reference = make_reference(VARIANT, 3, patch_size=2, num_channels=1)
    reference.save_pretrained(tmp_path / "theirs")
    model = kc.from_preset(tmp_path / "theirs", image_size=(32, 48))
    assert model.backbone.stem_stride == 2
    kc.save_weights(model, tmp_path / "ours", format="transformers")
    images = IMAGES[:, :32, :48, :1]
    logits = run_reference(load(tmp_path / "ours"), images).logits
    assert_close(logits, run_reference(reference, images).logits)


def test_an_epsilon_that_changes_the_results_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 0.5}))
    for source in (tmp_path / "model", tmp_path / "model" / "model.safetensors"):
        with pytest.raises(WeightsError, match="layer_norm_eps=0.5"):
            kc.from_preset(source)


@pytest.mark.one_backend
def test_a_model_without_a_head_is_a_backbone_in_both_directions(reference, tmp_path):
    reference.convnextv2.save_pretrained(tmp_path / "theirs")
    with pytest.warns(UserWarning, match="no head for its layernorm"):
        backbone = kc.from_preset(tmp_path / "theirs")
    assert isinstance(backbone, kc.ConvNeXtV2Backbone)
    features = compute(backbone, IMAGES)

    kc.save_weights(backbone, tmp_path / "ours", format="transformers")
    # Theirs has a LayerNorm on the pooled features, which ours has with the head alone.
    norm = {"layernorm.weight", "layernorm.bias"}
    again = load(tmp_path / "ours", "ConvNextV2Model", missing=norm)
    for model in (reference.convnextv2, again):
        theirs = run_reference(model, IMAGES).last_hidden_state  # (B, C, h, w)
        assert_close(features, theirs.permute(0, 2, 3, 1))


def test_half_precision_loads(folder, tmp_path):
    half = load(folder, dtype=torch.bfloat16)
    half.save_pretrained(tmp_path)
    model = kc.from_preset(tmp_path)
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    # The same rounded weights, computed in float32 there as here.
    assert_close(compute(model, IMAGES), run_reference(half.float(), IMAGES).logits)


@pytest.mark.one_backend
def test_a_folder_with_a_pytorch_file_loads(reference, folder, tmp_path):
    torch.save(reference.state_dict(), tmp_path / "pytorch_model.bin")
    reference.config.save_pretrained(tmp_path)
    model = kc.from_preset(tmp_path)
    assert_same_weights(model, kc.from_preset(folder))
    assert model.class_names == CLASS_NAMES


@pytest.fixture
def parts(reference, tmp_path):
    reference.save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    assert len(list((tmp_path / "parts").glob("model-*.safetensors"))) > 2
    return tmp_path / "parts"


@pytest.mark.one_backend
def test_a_model_in_parts_loads(parts, folder):
    model = kc.from_preset(parts)
    assert_same_weights(model, kc.from_preset(folder))
    assert model.class_names == CLASS_NAMES


def test_a_part_that_is_not_there_is_an_error_that_names_it(parts):
    part = sorted(parts.glob("model-*.safetensors"))[1]
    part.unlink()
    with pytest.raises(WeightsError, match=f"parts lacks {part.name}, a part of its weights"):
        kc.from_preset(parts)


@pytest.mark.parametrize("name", ["..", "../model.safetensors", "model.bin", 3, ["a.safetensors"]])
def test_an_index_that_names_other_files_is_an_error(name, parts):
    (parts / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(WeightsError, match="index.json does not list safetensors files beside"):
        kc.from_preset(parts)


def test_another_number_of_classes_is_an_error_or_leaves_the_head_new(folder):
    model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(VARIANT, IMAGE_SHAPE), 3)
    before = named_weights(model)
    counts = "holds .*, 5 classes; the model is .*, 3 classes. With strict=False its head stays new"
    with pytest.raises(WeightsError, match=counts):
        kc.load_weights(model, folder)
    for path, value in named_weights(model).items():
        np.testing.assert_array_equal(value, before[path], err_msg=path)
    with pytest.warns(UserWarning, match=r"stayed new \(head\).*2 of the file left out"):
        kc.load_weights(model, folder, strict=False)
    whole = kc.from_preset(folder)
    assert_same_weights(model.backbone, whole.backbone)
    for path in ("head/kernel", "head/bias"):
        np.testing.assert_array_equal(named_weights(model)[path], before[path], err_msg=path)
    assert model.class_names is None


@pytest.mark.parametrize("activation", ["relu", "gelu_new"])
def test_an_activation_that_is_not_ours_is_an_error(activation, folder, tmp_path):
    make_reference(VARIANT, 3, hidden_act=activation).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=f"hidden_act.*'{activation}'.*exact GELU"):
        kc.from_preset(tmp_path)
