"""safetensors files: against the library, and headers that lie."""

import json
import struct

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from keras_convnextv2.weights import safetensors_file
from keras_convnextv2.weights.checkpoint import StoredTensor, read_finite
from keras_convnextv2.weights.description import Description
from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.files import open_weights

pytestmark = pytest.mark.one_backend

FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
NUM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "U8": 1, "BOOL": 1}


@pytest.fixture
def write(tmp_path):
    """Writes a file of a header, a dict or JSON as it is, and numbers; returns its path."""

    def write(header, numbers=b"", header_bytes=None, name="file.safetensors"):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        size = len(text) if header_bytes is None else header_bytes
        path = tmp_path / name
        path.write_bytes(struct.pack("<Q", size) + text + numbers)
        return path

    return write


def entry(dtype="F32", shape=(2,), start=0, end=8):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


@pytest.mark.parametrize("name", FLOATS.values())
def test_every_float_is_what_the_library_saved(name, tmp_path, rng):
    state = {
        "matrix": torch.from_numpy(rng.normal(size=(3, 5))).to(getattr(torch, name)),
        "scalar": torch.tensor(2.5, dtype=getattr(torch, name)),
        "empty": torch.empty(0, 4, dtype=getattr(torch, name)),
    }
    safetensors.torch.save_file(state, tmp_path / "file.safetensors")
    tensors = open_weights(tmp_path / "file.safetensors").tensors
    assert tensors.keys() == state.keys()
    for key, tensor in state.items():
        array = tensors[key].load()
        assert tensors[key].dtype == array.dtype.name == name
        assert tensors[key].shape == array.shape == tuple(tensor.shape)
        assert array.tobytes() == tensor.flatten().view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize(
    ("code", "name"),
    [("I64", "int64"), ("I8", "int8"), ("U8", "uint8")]
    + [(code, code) for code in ("BOOL", "F8_E4M3", "F8_E5M2", "C64")],
)
def test_what_is_not_of_floats_is_refused_by_its_dtype_when_it_is_loaded(code, name, write):
    size = 8 * {"C64": 8, "I64": 8}.get(code, 1)
    path = write({"w": entry(code, (8,), 0, size)}, b"\0" * size)
    with pytest.raises(WeightsError, match=f"w is of dtype {name}, not of floats"):
        read_finite(open_weights(path), "w")


TWO = {"a": entry(end=8), "b": entry(start=8, end=16)}


@pytest.mark.parametrize(
    ("header", "header_bytes", "message"),
    [
        (TWO, 2**63, "header has 9223372036854775808 bytes, too many to be true"),
        (TWO, 5 * 2**20, "header has 5242880 bytes, too many to be true"),
        (TWO, 4 * 2**20, "damaged or no safetensors file"),  # more than the file has
        (TWO, 30, "damaged or no safetensors file"),
        (TWO, 0, "damaged or no safetensors file"),
        ({**TWO, "b": entry(start=8, end=24)}, None, "damaged"),  # beyond the file's end
        ({**TWO, "b": entry(start=4, end=12)}, None, "damaged"),  # overlapping
        ({**TWO, "b": entry(start=0, end=8)}, None, "damaged"),  # the same numbers twice
        ({**TWO, "b": entry(start=16, end=8)}, None, "damaged"),
        ({**TWO, "b": entry(shape=(3,), start=8, end=16)}, None, "damaged"),
        ({**TWO, "b": entry(shape=(-2, -1), start=8, end=16)}, None, "damaged"),
        ({**TWO, "b": entry(shape=(2**32, 2**32), start=8, end=16)}, None, "damaged"),
        ({**TWO, "b": entry(shape=(2.0,), start=8, end=16)}, None, "damaged"),
        ({**TWO, "b": entry("f32", start=8, end=16)}, None, "damaged"),
        ({**TWO, "b": entry(shape=[1] * 64 + [2], start=8, end=16)}, None, "a shape that begins"),
        ({**TWO, "c": entry(shape=(0, 2**62), start=16, end=16)}, None, "a shape that begins"),
        ({"a": entry()}, None, "damaged"),  # numbers of no tensor
        ({**TWO, "__metadata__": {"format": 3}}, None, "damaged"),
        (b'{"a": ' * 100_000, None, "damaged or no safetensors file"),
        (b"{\xff}", None, "damaged or no safetensors file"),
        (b"{", None, "damaged or no safetensors file"),
    ],
)
def test_a_header_that_does_not_fit_the_file_is_refused(header, header_bytes, message, write):
    path = write(header, b"\0" * 16, header_bytes)
    with pytest.raises(WeightsError, match=rf"file\.safetensors (is|was) .*{message}"):
        open_weights(path)


@pytest.mark.parametrize(
    "header",
    [
        b'{"a": %b, "a": %b}' % ((json.dumps(entry()).encode(),) * 2),
        b'{"a": %b, "__metadata__": {"x": "1", "x": "2"}}' % json.dumps(entry()).encode(),
        b'{"a": {"dtype": "F32", "shape": [2], "shape": [2], "data_offsets": [0, 8]}}',
    ],
)
def test_a_key_that_is_there_twice_is_refused(header, write):
    with pytest.raises(WeightsError, match="its header has a key twice"):
        open_weights(write(header, b"\0" * 8))


def test_a_file_cut_anywhere_is_refused(write):
    whole = write(TWO, b"\0" * 16).read_bytes()
    for size in range(len(whole)):
        path = write({})
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match="file.safetensors"):
            open_weights(path)


@pytest.mark.parametrize("name", FLOATS.values())
def test_the_library_reads_what_is_written_here(name, tmp_path, rng):
    state = {
        "b": torch.from_numpy(rng.normal(size=(3, 5))).to(getattr(torch, name)),
        "größe": torch.from_numpy(rng.normal(size=3)).to(getattr(torch, name)),
        "a": torch.tensor(-1.5, dtype=getattr(torch, name)),
        "empty": torch.empty(2, 0, dtype=getattr(torch, name)),
    }
    safetensors.torch.save_file(state, tmp_path / "source.safetensors")
    source = open_weights(tmp_path / "source.safetensors")
    description = Description(('"quoted"', "naïve 猫"), (96, 128), "cc-by-nc-4.0")
    path = tmp_path / "written.safetensors"
    safetensors_file.write(path, source.tensors, description)

    loaded = safetensors.torch.load_file(path)
    assert loaded.keys() == state.keys()
    for key, tensor in loaded.items():
        assert tensor.dtype == state[key].dtype
        assert torch.equal(tensor, state[key])
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata()["format"] == "pt"  # transformers refuses others
    assert open_weights(path).description == description


def test_arrays_that_are_not_contiguous_are_written_right(tmp_path, rng):
    array = rng.normal(size=(4, 6)).astype("float32")[::2, 1:].T
    path = tmp_path / "written.safetensors"
    tensors = {"w": StoredTensor(array.shape, "float32", lambda: array)}
    safetensors_file.write(path, tensors, Description())
    np.testing.assert_array_equal(safetensors.torch.load_file(path)["w"].numpy(), array)


@pytest.mark.parametrize(
    "metadata",
    [
        {"class_names": "[" * 100_000, "image_size": "[224", "licence": ""},
        {"class_names": '["a", 3]', "image_size": "[true, 224]", "licence": "x" * 300},
        {"class_names": '{"0": "a"}', "image_size": "[224, 1e9]"},
        {"class_names": "9" * 5000, "image_size": "[0, -1]"},
        {"class_names": "[]", "image_size": f"[{10**18}, {10**18}]"},
    ],
)
def test_metadata_that_says_nothing_of_use_is_ignored(metadata, write):
    path = write({"w": entry(), "__metadata__": metadata}, b"\0" * 8)
    assert open_weights(path).description == Description()


@pytest.fixture
def write_parts(write, tmp_path):
    """Writes a folder of two parts and an index with this `weight_map`; returns the folder."""

    def write_parts(weight_map, second="b"):
        write({"a": entry()}, b"\0" * 8, name="model-1.safetensors")
        write({second: entry()}, b"\1" * 8, name="model-2.safetensors")
        index = json.dumps({"metadata": {}, "weight_map": weight_map})
        (tmp_path / "model.safetensors.index.json").write_text(index)
        return tmp_path

    return write_parts


def test_a_model_in_parts_is_one_checkpoint(write_parts):
    folder = write_parts({"a": "model-1.safetensors", "b": "model-2.safetensors"})
    tensors = open_weights(folder).tensors
    assert [tensor.load().tobytes() for tensor in tensors.values()] == [b"\0" * 8, b"\1" * 8]
    assert list(tensors) == ["a", "b"]


@pytest.mark.parametrize(
    "name",
    ["../x.safetensors", "/etc/x.safetensors", "sub/x.safetensors", "..", ".", "", "config.json"]
    + [None, 3, ["model-1.safetensors"], "..\\x.safetensors/", "x\0.safetensors"],
)
def test_an_index_that_names_what_is_not_beside_it_is_refused(name, write_parts):
    folder = write_parts({"a": "model-1.safetensors", "b": name})
    with pytest.raises(WeightsError, match="index.json does not list|lacks x"):
        open_weights(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": []}', "[" * 100_000, "\xff"])
def test_an_index_of_another_form_is_refused(content, tmp_path):
    (tmp_path / "model.safetensors.index.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(WeightsError, match="model.safetensors.index.json"):
        open_weights(tmp_path)


def test_a_key_in_two_parts_is_refused(write_parts):
    folder = write_parts({"a": "model-1.safetensors", "b": "model-2.safetensors"}, second="a")
    with pytest.raises(WeightsError, match="holds 1 keys twice, among them a"):
        open_weights(folder)


def test_a_missing_or_damaged_part_is_refused(write_parts):
    folder = write_parts({"a": "model-1.safetensors", "b": "model-3.safetensors"})
    with pytest.raises(WeightsError, match="lacks model-3.safetensors"):
        open_weights(folder)
    (folder / "model-3.safetensors").write_bytes(b"\0" * 5)
    with pytest.raises(WeightsError, match="model-3.safetensors is damaged"):
        open_weights(folder)
