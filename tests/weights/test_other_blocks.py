"""Models whose blocks are not the paper's: their weights, their files, what cannot hold them."""

import dataclasses
import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
import safetensors.numpy

import keras_convnextv2 as kc
from keras_convnextv2.models.variants import BlockSpec
from keras_convnextv2.weights.model_weights import named_weights, sizes_of
from tests.reference.random_weights import randomize

pytestmark = pytest.mark.one_backend
PAPER = BlockSpec()
PLAIN, SCALED = BlockSpec("none"), BlockSpec("none", layer_scale=0.5)
BOTH = BlockSpec("grn", layer_scale=1e-6)
IMAGES = np.random.default_rng(4).normal(size=(2, 16, 24, 3)).astype("float32")


def make_backbone(block, seed=0):
    variant = kc.Variant((1, 2, 1, 1), (4, 6, 8, 12), block)
    backbone = kc.ConvNeXtV2Backbone(variant, (16, 24, 3), stem_stride=1)
    randomize(backbone, np.random.default_rng(seed))
    return backbone


def arrays_of(model):
    return {name: keras.ops.convert_to_numpy(w.value) for name, w in named_weights(model).items()}


def assert_equal_outputs(one, other):
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(m(IMAGES)) for m in (one, other)))


@pytest.mark.parametrize("block", [PAPER, PLAIN, SCALED, BOTH], ids=str)
def test_names_and_shapes_are_those_of_the_model_itself(block):
    backbone = make_backbone(block)
    models = (
        backbone,
        kc.ConvNeXtV2Classifier(backbone, 3),
        kc.FCMAE(backbone, decoder_width=8, decoder_depth=2),
    )
    for model in models:
        shapes = sizes_of(model).shapes()
        assert {name: tuple(w.shape) for name, w in named_weights(model).items()} == shapes
        num_floats = sum("float" in w.dtype for w in model.weights)
        assert len(shapes) == num_floats
    kinds = {name.split("/")[1] for name in sizes_of(backbone).shapes() if "stage1_block1" in name}
    assert ("response_norm" in kinds) == (block.response == "grn")
    assert ("layer_scale" in kinds) == (block.layer_scale is not None)


@pytest.mark.parametrize("block", [PAPER, PLAIN, SCALED, BOTH], ids=str)
@pytest.mark.parametrize("name", ["model.safetensors", "model.keras"])
def test_our_own_files_say_which_block_it_is(block, name, tmp_path):
    model = kc.ConvNeXtV2Classifier(make_backbone(block), 3)
    kc.save_weights(model, tmp_path / name)
    built = kc.from_preset(tmp_path / name, image_size=(16, 24))
    assert built.backbone.variant == model.backbone.variant
    assert_equal_outputs(built, model)
    other = kc.ConvNeXtV2Classifier(make_backbone(block, seed=1), 3)
    kc.load_weights(other, tmp_path / name)
    assert_equal_outputs(other, model)


@pytest.mark.parametrize("block", [PLAIN, SCALED, BOTH], ids=str)
def test_a_weights_file_of_keras_is_read_by_the_model_it_is_for(block, tmp_path):
    model, other = make_backbone(block), make_backbone(block, seed=1)
    kc.save_weights(model, tmp_path / "model.weights.h5")
    kc.load_weights(other, tmp_path / "model.weights.h5")
    assert_equal_outputs(other, model)


def test_files_of_the_paper_s_block_say_nothing_of_it(tmp_path):
    kc.save_weights(make_backbone(PAPER), tmp_path / "model.safetensors")
    with safetensors.safe_open(tmp_path / "model.safetensors", "numpy") as file:
        assert "block" not in file.metadata()


@pytest.mark.parametrize("format", ["official", "minkowski", "timm", "transformers", "mmpretrain"])
@pytest.mark.parametrize("block", [PLAIN, BOTH], ids=str)
def test_other_libraries_formats_refuse_it_by_name(format, block, tmp_path):
    for name in ("model.safetensors", "model.pt", "folder"):
        with pytest.raises(kc.WeightsError) as raised:
            kc.save_weights(make_backbone(block), tmp_path / name, format=format)
        assert str(block) in str(raised.value) and f"format {format}" in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_pytorch_file_could_not_say_which_block_it_is(tmp_path):
    with pytest.raises(kc.WeightsError, match="keras in a .pt file .* the response 'none'"):
        kc.save_weights(make_backbone(PLAIN), tmp_path / "model.pt")


@pytest.mark.parametrize("name", ["model.safetensors", "model.keras"])
@pytest.mark.parametrize(("block", "other"), [(PLAIN, PAPER), (PAPER, SCALED), (SCALED, BOTH)])
def test_a_model_of_another_block_is_refused_and_both_are_named(block, other, name, tmp_path):
    kc.save_weights(make_backbone(block), tmp_path / name)
    with pytest.raises(kc.WeightsError) as raised:
        kc.load_weights(make_backbone(other), tmp_path / name)
    for spec in (block, other):
        assert str(spec) in str(raised.value)


def test_where_a_layer_scale_began_does_not_matter(tmp_path):
    model = make_backbone(BlockSpec("none", 0.25))
    kc.save_weights(model, tmp_path / "model.safetensors")
    other = make_backbone(BlockSpec("none", 1e-6), seed=1)
    kc.load_weights(other, tmp_path / "model.safetensors")
    assert_equal_outputs(other, model)


HOSTILE = [
    ({"response": "os.system", "layer_scale": None}, "response 'os.system'; registered are grn, "),
    ({"response": "grn", "layer_scale": float("nan")}, "layer scale begins at nan"),
    ({"response": "grn", "layer_scale": "1"}, "describes its blocks as"),
    ({"response": ["grn"]}, "describes its blocks as"),
    ({"command": "grn"}, "describes its blocks as"),
    ([], "describes its blocks as"),
    (None, "describes its blocks as"),
    ("grn", "describes its blocks as"),
]


@pytest.mark.parametrize(("block", "message"), HOSTILE)
def test_a_block_that_is_not_known_is_refused(block, message, tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = arrays_of(make_backbone(PLAIN))
    safetensors.numpy.save_file(tensors, path, {"block": json.dumps(block)})
    with pytest.raises(kc.WeightsError, match=message):
        kc.from_preset(path)

    make_backbone(PLAIN).save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(entries["config.json"])
    config["config"]["variant"]["block"] = block
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in {**entries, "config.json": json.dumps(config)}.items():
            archive.writestr(name, content)
    (tmp_path / "model.keras").write_bytes(out.getvalue())
    with pytest.raises(kc.WeightsError, match=message):
        kc.from_preset(tmp_path / "model.keras")


def test_a_block_in_the_metadata_that_the_tensors_do_not_fit_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    block = json.dumps(dataclasses.asdict(SCALED))
    safetensors.numpy.save_file(arrays_of(make_backbone(PAPER)), path, {"block": block})
    with pytest.raises(kc.WeightsError, match="missing: .*layer_scale/gamma.* unexpected: .*resp"):
        kc.from_preset(path)


RENAMED = {"response_norm": "response", "conv2d": "patch_convolution"}


@pytest.mark.parametrize("direction", ["earlier", "later"])
def test_weights_files_with_earlier_and_later_names_of_layers_are_read(direction, tmp_path):
    model, other = make_backbone(PAPER), make_backbone(PAPER, seed=1)
    model.save_weights(tmp_path / "model.weights.h5")
    renamed = RENAMED if direction == "later" else {new: old for old, new in RENAMED.items()}
    with (
        h5py.File(tmp_path / "model.weights.h5") as old,
        h5py.File(tmp_path / "renamed.weights.h5", "w") as new,
    ):

        def copy(name, item):
            if isinstance(item, h5py.Dataset):
                new["/".join(renamed.get(part, part) for part in name.split("/"))] = item[()]

        old.visititems(copy)
        # Counts that are kept beside the weights.
        new["layers/conv_ne_xt_v2_block_1/stochastic_depth/vars/0"] = np.int32(7)
        new["layers/conv_ne_xt_v2_block_2/stochastic_depth/seed_generator/vars/0"] = np.zeros(
            2, "uint32"
        )
    for load in (
        lambda path: kc.load_weights(other, path),
        lambda path: assert_equal_outputs(kc.from_preset(path, (16, 24)), model),
    ):
        load(tmp_path / "renamed.weights.h5")
    assert_equal_outputs(other, model)


def test_a_layer_under_both_of_its_names_is_refused(tmp_path):
    make_backbone(PAPER).save_weights(tmp_path / "model.weights.h5")
    with h5py.File(tmp_path / "model.weights.h5", "a") as file:
        for place in ("conv_ne_xt_v2_block/response_norm", "conv_ne_xt_v2_block/response"):
            file.require_group(f"layers/{place}/vars")
            if "0" not in file[f"layers/{place}/vars"]:
                file[f"layers/{place}/vars/0"] = np.zeros(16, "float32")
    with pytest.raises(kc.WeightsError, match="both their earlier and their present names"):
        kc.from_preset(tmp_path / "model.weights.h5")
