"""tools.convert_weights, run as a program."""

import argparse
import json

import keras
import numpy as np
import pytest
import safetensors.numpy
import torch

import keras_convnextv2 as kc
from keras_convnextv2.weights.model_weights import named_weights
from tests.reference.layouts import custom_layout, layout, numpy_equal, random_checkpoint
from tests.reference.minkowski_fcmae import make_checkpoint
from tests.reference.processes import run_python
from tests.reference.random_weights import randomize

# What it calls is tested on each backend in tests/weights.
pytestmark = pytest.mark.one_backend

DEPTHS, WIDTHS = (1, 1, 2, 1), (4, 6, 8, 12)


@pytest.fixture
def convert(run_program):
    return lambda *words: run_program("tools.convert_weights", *words)


def result_of(outcome):
    assert outcome.status == 0, outcome.err
    return outcome.result


def assert_refused(outcome, *parts):
    assert outcome.status == 2
    (line,) = [line for line in outcome.err.splitlines() if "error" in line]
    assert line.startswith("convert_weights: error: ")
    for part in parts:
        assert part in line


@pytest.fixture
def official(tmp_path, rng):
    """A training checkpoint of the official code, of a size without a name."""
    checkpoint = random_checkpoint(custom_layout("official", DEPTHS, WIDTHS), rng)
    state = {key: torch.from_numpy(array) for key, array in checkpoint.items()}
    arguments = argparse.Namespace(input_size=96, lr=1e-3, model="convnextv2_custom")
    other = {key: tensor + 1 for key, tensor in state.items()}
    whole = {"model": state, "model_ema": other, "epoch": 12, "args": arguments}
    torch.save(whole, tmp_path / "official.pth")
    return tmp_path / "official.pth", checkpoint


def test_inspect_prints_what_the_file_is_without_a_model(convert, official):
    shown = result_of(convert(f"--weights={official[0]}", "--inspect", "--json"))
    expected = {
        "container": "PyTorch",
        "format": "official",
        "variant": "custom",
        "depths": [1, 1, 2, 1],
        "widths": [4, 6, 8, 12],
        "classes": 1000,
        "epoch": 12,
        "other_entries": ["model_ema"],
        "parameters": sum(array.size for array in official[1].values()),
        "dtypes": {"float32": len(official[1])},
    }
    assert {name: shown[name] for name in expected} == expected


def test_inspect_names_the_variant_as_lines(convert, tmp_path, rng):
    checkpoint = random_checkpoint(layout("timm", "atto"), rng, "float16")
    safetensors.numpy.save_file(checkpoint, tmp_path / "atto.safetensors")
    done = convert(f"--weights={tmp_path / 'atto.safetensors'}", "--inspect")
    shown = dict(line.split(maxsplit=1) for line in done.out.splitlines())
    assert shown["variant"] == "atto" and shown["parameters"] == "3708400"
    assert shown["dtypes"] == f"float16 {len(checkpoint)}"


def test_through_a_chain_of_formats_every_bit_comes_back(convert, official, tmp_path):
    source, checkpoint = official
    steps = [
        ("timm", tmp_path / "a.safetensors"),
        ("mmpretrain", tmp_path / "b.pth"),
        ("transformers", tmp_path / "folder"),
        ("official", tmp_path / "c.safetensors"),
    ]
    for format, output in steps:
        words = (f"--weights={source}", f"--output={output}", f"--format={format}", "--json")
        outcome = convert(*words)
        assert result_of(outcome)["weights"] == len(checkpoint)
        assert "converting" in outcome.err and "0:00:00" in outcome.err  # the bar, and time left
        source = output
    assert numpy_equal(safetensors.numpy.load_file(source), checkpoint)


def test_verify_runs_source_and_result_and_shows_the_difference(convert, official, tmp_path):
    words = (f"--weights={official[0]}", "--format=transformers", "--verify", "--json")
    shown = result_of(convert(*words, f"--output={tmp_path / 'folder'}"))
    assert shown["weights_equal"] == len(official[1])
    assert (shown["source_run_by"], shown["result_run_by"]) == ("Keras", "transformers")
    assert shown["largest_relative_difference"] < 1e-5  # float32 through six blocks


def test_weights_of_the_first_version_are_converted_and_verified(convert, tmp_path):
    variant = kc.Variant(DEPTHS, WIDTHS, kc.BlockSpec("none", layer_scale=0.5))
    model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(variant, (64, 96, 3)), 3)
    randomize(model, np.random.default_rng(0))
    kc.save_weights(model, tmp_path / "official.pt", "official")
    words = (f"--weights={tmp_path / 'official.pt'}", "--format=transformers", "--verify", "--json")
    shown = result_of(convert(*words, f"--output={tmp_path / 'folder'}"))
    assert shown["result_run_by"] == "transformers"
    assert shown["largest_relative_difference"] < 1e-5  # float32 through six blocks
    words = (f"--weights={tmp_path / 'folder'}", "--format=keras")
    assert convert(*words, f"--output={tmp_path / 'ours.safetensors'}").status == 0
    shown = result_of(convert(f"--weights={tmp_path / 'ours.safetensors'}", "--inspect", "--json"))
    assert shown["block"] == "a block with the response 'none' and a layer scale"
    copy = kc.from_preset(tmp_path / "ours.safetensors")
    for name, weight in named_weights(model).items():
        np.testing.assert_array_equal(named_weights(copy)[name].numpy(), weight.numpy())


def test_the_entry_that_is_named_is_converted(convert, official, tmp_path):
    output = tmp_path / "ema.safetensors"
    words = (f"--weights={official[0]}", "--entry=model_ema", f"--output={output}")
    assert convert(*words, "--format=official").status == 0
    bias = safetensors.numpy.load_file(output)["head.bias"]
    np.testing.assert_array_equal(bias, official[1]["head.bias"] + 1)


def test_a_pretraining_becomes_a_keras_file_or_a_backbone_for_timm(convert, tmp_path, rng):
    checkpoint = make_checkpoint(rng, DEPTHS, WIDTHS, decoder_width=10)
    state = {key: torch.from_numpy(array) for key, array in checkpoint.items()}
    torch.save({"model": state}, tmp_path / "pretrained.pth")
    source = f"--weights={tmp_path / 'pretrained.pth'}"

    shown = result_of(convert(source, f"--output={tmp_path / 'a.keras'}", "--verify", "--json"))
    assert shown["weights_equal"] == len(checkpoint)
    assert shown["format"] == "keras" and shown["left_out"] == []
    timm = f"--output={tmp_path / 'timm.safetensors'}"
    assert_refused(convert(source, timm, "--format=timm"), "no place for 15 weights", "decoder")
    shown = result_of(convert(source, timm, "--format=timm", "--backbone_only", "--json"))
    assert shown["weights"] == len([key for key in checkpoint if key.startswith("encoder.")])
    assert "mask_token" in shown["left_out"]
    kernel = safetensors.numpy.load_file(tmp_path / "timm.safetensors")
    minkowski = checkpoint["encoder.stages.2.1.dwconv.kernel"]  # place w * 7 + h
    np.testing.assert_array_equal(
        kernel["stages.2.blocks.1.conv_dw.weight"][:, 0],
        minkowski.reshape(7, 7, -1).transpose(2, 1, 0),
    )


VARIANT = {
    "variant": kc.Variant(DEPTHS, WIDTHS),
    "image_shape": (32, 48, 1),
    "stem_stride": 2,
    "drop_path_rate": 0.3,
    "seed": 7,
    "dtype": "mixed_bfloat16",
    "name": "my_encoder",
    "trainable": False,
}
KINDS = {
    "backbone": lambda backbone: backbone,
    "classifier": lambda backbone: kc.ConvNeXtV2Classifier(
        backbone, 3, "softmax", head_init_scale=0.5, class_names=("a", "b", "c"), name="mine"
    ),
    "fcmae": lambda backbone: kc.FCMAE(
        backbone,
        mask_ratio=0.5,
        decoder_width=8,
        decoder_depth=2,
        normalize_targets=False,
        encoder_path="dense",
        seed=11,
        name="mine",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_keras_file_becomes_one_with_all_that_it_says(kind, convert, tmp_path):
    backbone = kc.ConvNeXtV2Backbone(**VARIANT)
    model = KINDS[kind](backbone)
    randomize(model, np.random.default_rng(0))
    backbone.licence = "cc-by-nc-4.0"
    model.save(tmp_path / "last.keras")
    words = (f"--weights={tmp_path / 'last.keras'}", f"--output={tmp_path / 'new.keras'}")
    shown = result_of(convert(*words, "--verify", "--json"))
    assert shown["largest_relative_difference"] == 0
    converted = keras.saving.load_model(tmp_path / "new.keras")
    assert type(converted) is type(model)
    assert converted.get_config() == model.get_config()
    for name, weight in named_weights(model).items():
        found = keras.ops.convert_to_numpy(named_weights(converted)[name])
        np.testing.assert_array_equal(found, keras.ops.convert_to_numpy(weight))


def test_the_backbone_alone_keeps_what_is_said_of_it(convert, tmp_path):
    fcmae = KINDS["fcmae"](kc.ConvNeXtV2Backbone(**VARIANT))
    fcmae.save(tmp_path / "last.keras")
    words = (f"--weights={tmp_path / 'last.keras'}", f"--output={tmp_path / 'new.keras'}")
    assert convert(*words, "--verify", "--backbone_only").status == 0
    converted = keras.saving.load_model(tmp_path / "new.keras")
    assert converted.get_config() == fcmae.backbone.get_config()


@pytest.mark.parametrize(
    ("kind", "setting", "value"),
    [
        ("fcmae", "mask_ratio", 0.7),
        ("fcmae", "seed", 12),
        ("fcmae", "name", "other"),
        ("classifier", "class_names", ["a", "b", "d"]),
        ("classifier", "head_init_scale", 0.25),
        ("classifier", "activation", None),
    ],
)
def test_verify_finds_a_setting_that_is_another(
    kind, setting, value, convert, tmp_path, monkeypatch
):
    model = KINDS[kind](kc.ConvNeXtV2Backbone(**VARIANT))
    model.save(tmp_path / "last.keras")
    config = type(model).get_config

    def wrong(self):
        return {**config(self), setting: value}

    monkeypatch.setattr(type(model), "get_config", wrong)
    words = (f"--weights={tmp_path / 'last.keras'}", f"--output={tmp_path / 'new.keras'}")
    assert_refused(convert(*words, "--verify"), f"says {setting}=", "new.keras", "last.keras")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_dtype_is_as_asked(convert, official, tmp_path, dtype):
    output = tmp_path / "half.pt"
    words = (f"--weights={official[0]}", f"--output={output}", f"--dtype={dtype}")
    shown = result_of(convert(*words, "--format=timm", "--verify", "--json"))
    state = torch.load(output, weights_only=True)
    assert {tensor.dtype for tensor in state.values()} == {getattr(torch, dtype)}
    assert 0 < shown["largest_relative_difference"] < 5e-2  # 8 bits of mantissa


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ((), "either --output or --inspect"),
        (("--inspect", "--output=a.pt"), "either --output or --inspect"),
        (("--output=a.npz", "--format=official"), "ends in .safetensors or one of .pt"),
        (("--output=a.safetensors",), "Give --format"),
        (("--output=a.keras", "--format=timm"), "of the format 'keras'"),
        (
            ("--output=a.pt", "--format=timm", "--entry=nothing"),
            "no state dict 'nothing'. It has: model, model_ema",
        ),
    ],
)
def test_what_cannot_be_is_one_line(convert, official, words, part):
    assert_refused(convert(f"--weights={official[0]}", *words), part)


def test_a_damaged_file_is_one_line(convert, official):
    path = official[0]
    path.write_bytes(path.read_bytes()[:-2000])
    assert_refused(convert(f"--weights={path}", "--inspect"), path.name, "damaged")


# Prints the peak since the program began: getrusage's counts what the parent had at the fork.
MEASURED = """
import atexit, runpy
status = lambda: dict(line.split(":") for line in open("/proc/self/status"))
atexit.register(lambda: print(1024 * int(status()["VmHWM"].split()[0])))
runpy.run_module("tools.convert_weights", run_name="__main__", alter_sys=True)
"""


def test_what_is_there_is_never_overwritten(convert, official, tmp_path):
    path = official[0]
    before = path.read_bytes()
    words = (f"--weights={path}", "--format=official")
    assert_refused(convert(*words, f"--output={path}"), "exists", "new file or folder")
    assert_refused(convert(*words, f"--output={tmp_path}"), "exists")
    assert path.read_bytes() == before


def test_inspect_says_what_does_not_fit(convert, tmp_path, rng):
    checkpoint = random_checkpoint(custom_layout("official", DEPTHS, WIDTHS), rng)
    del checkpoint["stages.1.0.grn.beta"]
    safetensors.numpy.save_file(checkpoint, tmp_path / "a.safetensors")
    shown = result_of(convert(f"--weights={tmp_path / 'a.safetensors'}", "--inspect", "--json"))
    assert "1 missing: stage1_block0/response_norm/beta" in shown["problem"]


def test_a_head_of_zeros_is_verified_too(convert, tmp_path, rng):
    checkpoint = random_checkpoint(custom_layout("official", DEPTHS, WIDTHS), rng)
    for key in ("head.weight", "head.bias"):
        checkpoint[key] *= 0
    safetensors.numpy.save_file(checkpoint, tmp_path / "a.safetensors")
    words = (f"--weights={tmp_path / 'a.safetensors'}", f"--output={tmp_path / 'b.pt'}")
    shown = result_of(convert(*words, "--format=official", "--verify", "--json"))
    assert shown["largest_relative_difference"] == 0


def test_integers_are_refused_before_anything_is_written(convert, tmp_path, rng):
    checkpoint = random_checkpoint(custom_layout("official", DEPTHS, WIDTHS), rng)
    checkpoint["head.bias"] = np.zeros(1000, "int8")
    safetensors.numpy.save_file(checkpoint, tmp_path / "a.safetensors")
    words = (f"--weights={tmp_path / 'a.safetensors'}", f"--output={tmp_path / 'b.pt'}")
    assert_refused(convert(*words, "--format=timm"), "head.bias is of dtype int8")
    assert not (tmp_path / "b.pt").exists()


@pytest.mark.slow
def test_the_largest_model_is_converted_in_memory_that_does_not_grow_with_it(tmp_path):
    source, output = tmp_path / "huge.safetensors", tmp_path / "huge.pt"
    num_bytes = _write_zeros(source, layout("timm", "huge"))
    words = (f"--weights={source}", f"--output={output}", "--format=official")
    done = run_python("-c", MEASURED, *words)
    assert done.returncode == 0, done.stderr
    assert output.stat().st_size > num_bytes
    # Asked for is 1.5 times the size. Keras, a backend and some of the largest tensor need less
    # than a gigabyte.
    assert int(done.stdout.splitlines()[-1]) < 0.5 * num_bytes


def _write_zeros(path, shapes):
    """A safetensors file of zeros, without the zeros on disk; returns the size of its tensors."""
    header, offset = {}, 0
    for key, shape in shapes.items():
        size = 4 * int(np.prod(shape))
        header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)
    return offset
