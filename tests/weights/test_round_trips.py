"""Reference layout -> ours -> reference layout: bit for bit, in every format."""

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

import keras_convnextv2 as kc
from tests.reference.layouts import custom_layout, layout, numpy_equal, random_checkpoint
from tests.reference.minkowski_fcmae import make_checkpoint

LIBRARIES = ("official", "timm", "transformers", "mmpretrain")
DEPTHS, WIDTHS = (1, 2, 3, 1), (8, 12, 20, 28)
WRAPPED = {"official": "model", "minkowski": "model", "mmpretrain": "state_dict"}


def write(path, checkpoint, library):
    """The checkpoint as the library itself would save it."""
    if path.suffix == ".safetensors":
        safetensors.numpy.save_file(checkpoint, path)
        return
    state = {key: torch.from_numpy(array) for key, array in checkpoint.items()}
    torch.save({WRAPPED[library]: state} if library in WRAPPED else state, path)


def read(path, library):
    if path.suffix == ".safetensors":
        return safetensors.numpy.load_file(path)
    state = torch.load(path, weights_only=True)
    state = state[WRAPPED[library]] if library in WRAPPED else state
    return {key: tensor.numpy() for key, tensor in state.items()}


def round_trip(checkpoint, library, suffix, tmp_path):
    write(tmp_path / f"theirs{suffix}", checkpoint, library)
    model = kc.from_preset(tmp_path / f"theirs{suffix}", image_size=(64, 96))
    kc.save_weights(model, tmp_path / f"ours{suffix}", format=library)
    assert numpy_equal(read(tmp_path / f"ours{suffix}", library), checkpoint)
    return model


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_custom_size(library, suffix, tmp_path, rng):
    checkpoint = random_checkpoint(custom_layout(library, DEPTHS, WIDTHS), rng)
    model = round_trip(checkpoint, library, suffix, tmp_path)
    assert model.backbone.variant == kc.Variant(DEPTHS, WIDTHS)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["atto", pytest.param("tiny", marks=pytest.mark.one_backend)])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_named_size(library, size, tmp_path, rng):
    checkpoint = random_checkpoint(layout(library, size), rng)
    model = round_trip(checkpoint, library, ".safetensors", tmp_path)
    assert model.backbone.get_config()["variant"] == size


@pytest.mark.parametrize("library", ["official", "timm", "transformers", "mmpretrain"])
def test_a_backbone_without_a_head(library, tmp_path, rng):
    shapes = custom_layout(library, DEPTHS, WIDTHS)
    last = list(shapes)[-4:]  # the LayerNorm before the head, and the head
    checkpoint = random_checkpoint({k: s for k, s in shapes.items() if k not in last}, rng)
    model = round_trip(checkpoint, library, ".safetensors", tmp_path)
    assert isinstance(model, kc.ConvNeXtV2Backbone)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_the_official_pretraining_with_its_decoder(suffix, tmp_path, rng):
    checkpoint = make_checkpoint(rng, (1, 1, 2, 1), (4, 6, 8, 12), 10, decoder_depth=2)
    write(tmp_path / f"theirs{suffix}", checkpoint, "minkowski")
    backbone = kc.ConvNeXtV2Backbone(kc.Variant((1, 1, 2, 1), (4, 6, 8, 12)), (64, 96, 3))
    fcmae = kc.FCMAE(backbone, decoder_width=10, decoder_depth=2)
    kc.load_weights(fcmae, tmp_path / f"theirs{suffix}")
    kc.save_weights(fcmae, tmp_path / f"ours{suffix}", format="minkowski")
    assert numpy_equal(read(tmp_path / f"ours{suffix}", "minkowski"), checkpoint)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_released_pretrained_weights_have_grn_of_any_rank(rank, tmp_path, rng):
    shapes = {
        key: (1,) * (rank - 1) + shape[-1:] if "grn" in key else shape
        for key, shape in custom_layout("official", DEPTHS, WIDTHS).items()
        if not key.startswith(("norm.", "head."))
    }
    checkpoint = random_checkpoint(shapes, rng)
    write(tmp_path / "released.pt", checkpoint, "official")
    backbone = kc.from_preset(tmp_path / "released.pt")
    grn = backbone.get_layer("stage2_block1").response
    np.testing.assert_array_equal(grn.gamma.numpy(), checkpoint["stages.2.1.grn.gamma"].ravel())


@pytest.mark.parametrize("format", ["official", "timm", "transformers", "mmpretrain", "keras"])
def test_from_one_format_to_the_next_and_back(format, tmp_path, rng):
    checkpoint = random_checkpoint(custom_layout("official", DEPTHS, WIDTHS), rng)
    write(tmp_path / "a.safetensors", checkpoint, "official")
    model = kc.from_preset(tmp_path / "a.safetensors")
    kc.save_weights(model, tmp_path / "b.safetensors", format=format)
    model = kc.from_preset(tmp_path / "b.safetensors")
    kc.save_weights(model, tmp_path / "c.safetensors", format="official")
    assert numpy_equal(read(tmp_path / "c.safetensors", "official"), checkpoint)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_half_precision_loads_exactly_and_is_saved_as_asked(dtype, suffix, tmp_path, rng):
    shapes = custom_layout("timm", DEPTHS, WIDTHS)
    half = {
        key: torch.from_numpy(array).to(getattr(torch, dtype))
        for key, array in random_checkpoint(shapes, rng).items()
    }
    theirs, ours = tmp_path / f"theirs{suffix}", tmp_path / f"ours{suffix}"
    if suffix == ".pt":
        torch.save(half, theirs)
    else:
        safetensors.torch.save_file(half, theirs)
    model = kc.from_preset(theirs)
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    kc.save_weights(model, ours, format="timm", dtype=dtype)
    if suffix == ".pt":
        back = torch.load(ours, weights_only=True)
    else:
        back = safetensors.torch.load_file(ours)
    assert back.keys() == half.keys()
    for key, tensor in back.items():
        assert tensor.dtype == half[key].dtype
        assert torch.equal(tensor, half[key])
