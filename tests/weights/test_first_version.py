"""ConvNeXt V1: a layer scale for GRN. Weights of other libraries, here and back."""

import json

import numpy as np
import pytest
import safetensors.numpy
import torch
import transformers

import keras_convnextv2 as kc
from keras_convnextv2.weights.format import read_block, read_sizes
from keras_convnextv2.weights.formats import WRITTEN, recognise
from keras_convnextv2.weights.sizes import Sizes
from tests.reference.compute import compute
from tests.reference.layouts import layout, random_checkpoint
from tests.reference.random_weights import named_weights, randomize
from tests.reference.transformers_model import run_reference, set_random_weights

pytestmark = pytest.mark.one_backend

FIRST = kc.BlockSpec("none", layer_scale=1e-6)
SMALL = kc.Variant((1, 1, 2, 1), (8, 12, 20, 28), FIRST)
TINY = kc.Variant((3, 3, 9, 3), (96, 192, 384, 768), FIRST)
IMAGES = np.random.default_rng(1).normal(size=(2, 64, 96, 3)).astype("float32")
# The kinds of names that libraries give to a block's layer scale and to its GRN.
SCALES = {
    "official": ("stages.{}.{}.gamma", "grn"),
    "mmpretrain": ("backbone.stages.{}.{}.gamma", "grn"),
    "timm": ("stages.{}.blocks.{}.gamma", "mlp.grn"),
    "transformers": ("convnext.encoder.stages.{}.layers.{}.layer_scale_parameter", "grn"),
}
# timm's own names of the first block of the second stage, by its source (ConvNeXtBlock, use_grn
# False), and those of what stands before it.
TIMM_NAMES = {
    "stages.1.downsample.0.weight",
    "stages.1.downsample.0.bias",
    "stages.1.downsample.1.weight",
    "stages.1.downsample.1.bias",
    "stages.1.blocks.0.gamma",
    "stages.1.blocks.0.conv_dw.weight",
    "stages.1.blocks.0.conv_dw.bias",
    "stages.1.blocks.0.norm.weight",
    "stages.1.blocks.0.norm.bias",
    "stages.1.blocks.0.mlp.fc1.weight",
    "stages.1.blocks.0.mlp.fc1.bias",
    "stages.1.blocks.0.mlp.fc2.weight",
    "stages.1.blocks.0.mlp.fc2.bias",
}


def make_reference(variant, num_classes=5, **options):
    """transformers' ConvNeXt V1 with random weights, of which the layer scale is far from 0."""
    config = transformers.ConvNextConfig(
        hidden_sizes=list(variant.widths),
        depths=list(variant.depths),
        num_labels=num_classes,
        **{"layer_norm_eps": 1e-6, "layer_scale_init_value": 0.5, **options},
    )
    return set_random_weights(transformers.ConvNextForImageClassification(config))


def assert_close(ours, theirs):
    theirs = theirs.numpy()
    assert theirs.std() > 0.1  # or closeness would mean little
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)  # float32; the bound for parity


@pytest.mark.parametrize("variant", [SMALL, TINY], ids=["small", "tiny"])
def test_a_folder_of_transformers_gives_its_logits_and_comes_back(variant, tmp_path):
    reference = make_reference(variant)
    reference.save_pretrained(tmp_path / "theirs")
    model = kc.from_preset(tmp_path / "theirs")
    assert model.backbone.variant == variant
    expected = run_reference(reference, IMAGES).logits
    logits = compute(model, IMAGES)
    assert_close(logits, expected)
    # The layer scale matters: without it the logits are others.
    for stage, depth in enumerate(variant.depths):
        block = model.backbone.get_layer(f"stage{stage}_block{depth - 1}")
        assert np.abs(block.layer_scale.gamma.numpy() - 1).mean() > 0.1

    kc.save_weights(model, tmp_path / "ours", format="transformers")
    again, report = transformers.ConvNextForImageClassification.from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert again.config.layer_scale_init_value == 1e-6 and again.config.layer_norm_eps == 1e-6
    assert_close(logits, run_reference(again.eval(), IMAGES).logits)


def test_a_model_of_transformers_without_its_head_is_a_backbone(tmp_path):
    reference = make_reference(SMALL)
    reference.convnext.save_pretrained(tmp_path / "theirs")
    with pytest.warns(UserWarning, match="no head for its layernorm"):
        backbone = kc.from_preset(tmp_path / "theirs")
    theirs = run_reference(reference.convnext, IMAGES).last_hidden_state
    assert_close(compute(backbone, IMAGES), theirs.permute(0, 2, 3, 1))


@pytest.mark.parametrize(
    ("library", "size"),
    [
        ("timm", "atto"),
        ("timm", "tiny"),
        ("timm", "small"),
        ("timm", "base"),
        ("timm", "large"),
        ("official", "tiny"),
        ("official", "large"),
        ("mmpretrain", "tiny"),
        ("transformers", "tiny"),
    ],
)
def test_every_key_and_shape_is_the_library_s_and_tells_the_size(library, size):
    scale, grn = SCALES[library]
    variant = kc.Variant(kc.VARIANTS[size].depths, kc.VARIANTS[size].widths, FIRST)
    theirs = {
        key.replace("convnextv2.", "convnext."): shape
        for key, shape in layout(library, size).items()
        if f".{grn}." not in key
    }
    for stage, depth in enumerate(variant.depths):
        for block in range(depth):
            theirs[scale.format(stage, block)] = (variant.widths[stage],)
    sizes = Sizes(variant, 4, 3, num_classes=1000)
    format = WRITTEN[library].for_block(FIRST)
    written = {
        format.key(name): format.layout(name, sizes).stored_shapes(shape)[0]
        for name, shape in sizes.shapes().items()
    }
    assert written == theirs
    found, prefix = recognise(theirs, "file")
    assert (found, prefix) == (format, "")
    assert read_block(found, theirs) == FIRST
    assert read_sizes(found, theirs, FIRST) == sizes


def test_the_names_of_a_block_are_those_of_timm_s_source():
    names = Sizes(TINY, 4, 3, num_classes=1000).shapes()
    ours = [name for name in names if name.startswith(("stage1_downsample", "stage1_block0"))]
    assert set(map(WRITTEN["timm"].key, ours)) == TIMM_NAMES


# The first four are torchvision's documented numbers; transformers counted the last (2026-11-30).
@pytest.mark.parametrize(
    ("depths", "widths", "number"),
    [
        ((3, 3, 9, 3), (96, 192, 384, 768), 28_589_128),
        ((3, 3, 27, 3), (96, 192, 384, 768), 50_223_688),
        ((3, 3, 27, 3), (128, 256, 512, 1024), 88_591_464),
        ((3, 3, 27, 3), (192, 384, 768, 1536), 197_767_336),
        ((3, 3, 27, 3), (256, 512, 1024, 2048), 350_196_968),
    ],
)
def test_the_number_of_parameters_is_the_published_one(depths, widths, number):
    sizes = Sizes(kc.Variant(depths, widths, FIRST), 4, 3, num_classes=1000)
    assert sizes.num_parameters() == number


@pytest.mark.parametrize("library", SCALES)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_go_to_each_library_s_names_and_come_back(library, suffix, tmp_path):
    model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(SMALL, (64, 96, 3)), 5)
    randomize(model, np.random.default_rng(0))
    path = tmp_path / f"model{suffix}"
    kc.save_weights(model, path, format=library)
    if suffix == ".pt":
        state = torch.load(path, weights_only=True)
        state = state[WRITTEN[library].entry] if WRITTEN[library].entry else state
        gamma = state[SCALES[library][0].format(2, 1)]
        expected = model.backbone.get_layer("stage2_block1").layer_scale.gamma
        np.testing.assert_array_equal(gamma.numpy(), expected.numpy())
    built = kc.from_preset(path)
    assert built.backbone.variant == SMALL
    other = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(SMALL, (64, 96, 3)), 5)
    assert kc.load_weights(other, path).format == library
    for copy in (built, other):
        for name, value in named_weights(model).items():
            np.testing.assert_array_equal(named_weights(copy)[name], value)


def test_a_folder_for_timm_names_the_size(tmp_path):
    backbone = kc.ConvNeXtV2Backbone(
        kc.Variant((2, 2, 6, 2), (40, 80, 160, 320), FIRST), (64, 64, 3)
    )
    kc.save_weights(backbone, tmp_path / "ours", format="timm")
    config = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert config["architecture"] == "convnext_atto"
    with safetensors.safe_open(tmp_path / "ours" / "model.safetensors", "numpy") as file:
        assert file.get_slice("stages.0.blocks.0.mlp.fc1.weight").get_shape() == [160, 40, 1, 1]
    assert kc.from_preset(tmp_path / "ours").variant == backbone.variant
    with pytest.raises(kc.WeightsError, match="timm has no name for depths 1,1,2,1"):
        kc.save_weights(kc.ConvNeXtV2Backbone(SMALL), tmp_path / "none", format="timm")


def test_the_format_of_sparse_pretraining_has_no_place_for_it(tmp_path):
    with pytest.raises(kc.WeightsError, match="minkowski can hold the paper's block alone"):
        kc.save_weights(kc.ConvNeXtV2Backbone(SMALL), tmp_path / "m.pt", format="minkowski")


@pytest.fixture
def official(rng):
    """{key: array} of a small V1 under the official names."""
    sizes = Sizes(SMALL, 4, 3, num_classes=5)
    format = WRITTEN["official"]
    shapes = {
        format.key(name): format.layout(name).stored_shapes(shape)[0]
        for name, shape in sizes.shapes().items()
    }
    return random_checkpoint(shapes, rng)


def test_a_model_of_v2_refuses_it_and_both_blocks_are_named(official, save):
    for strict in (True, False):
        with pytest.raises(kc.WeightsError) as caught:
            kc.load_weights(
                kc.ConvNeXtV2Backbone(kc.Variant(SMALL.depths, SMALL.widths)),
                save(official),
                strict,
            )
        for part in ("'none' and a layer scale", "'grn' and no layer scale", "from_preset"):
            assert part in str(caught.value)


def test_a_mix_is_refused_and_counted(official, save):
    official["stages.2.0.grn.gamma"] = np.ones((1, 1, 1, 80), "float32")
    official["stages.2.0.grn.beta"] = np.ones((1, 1, 1, 80), "float32")
    with pytest.raises(kc.WeightsError, match="GRN is in 1 of its blocks and a layer scale in 5"):
        kc.from_preset(save(official))


def test_a_block_without_its_layer_scale_is_named(official, save):
    del official["stages.2.1.gamma"]
    with pytest.raises(kc.WeightsError, match=r"1 missing: .*stages\.2\.1\.gamma"):
        kc.from_preset(save(official))


def test_blocks_with_neither_are_not_taken_for_v1(official, save):
    official = {
        key: array for key, array in official.items() if "stages" not in key or "gamma" not in key
    }
    with pytest.raises(kc.WeightsError, match="10 missing: stage0_block0/response_norm/gamma"):
        kc.from_preset(save(official))
