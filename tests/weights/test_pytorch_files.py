"""Files of `torch.save` against `torch.load`, in both directions, bit for bit."""

import argparse
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from keras_convnextv2.weights import pytorch_writer
from keras_convnextv2.weights.checkpoint import StoredTensor
from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.files import open_weights
from keras_convnextv2.weights.pickled_tensors import STORAGE_TYPES

pytestmark = pytest.mark.one_backend

DTYPES = tuple(STORAGE_TYPES)
IS_ZIP = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])


@pytest.fixture
def numbers(rng):
    return torch.from_numpy(rng.normal(size=(3, 4, 5, 6)))


@pytest.fixture
def save(tmp_path):
    """Saves an object in a file and returns its path."""

    def save(content, is_zip=True, protocol=2):
        path = tmp_path / "file.pt"
        torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=is_zip)
        return path

    return save


def dtype_name(tensor):
    return str(tensor.dtype).removeprefix("torch.")


def bits(tensor):
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def assert_equal(stored, expected):
    """Keys, shapes, dtypes and bits of {key: StoredTensor} and {key: torch's tensor}."""
    assert list(stored) == list(expected)
    for key, tensor in expected.items():
        array = stored[key].load()
        assert stored[key].shape == array.shape == tuple(tensor.shape), key
        assert stored[key].dtype == array.dtype.name == dtype_name(tensor), key
        assert array.tobytes() == bits(tensor), key


@IS_ZIP
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_every_dtype_is_what_torch_saved(is_zip, protocol, save, numbers):
    state = {name: (10 * numbers).to(getattr(torch, name)) for name in DTYPES}
    assert_equal(open_weights(save(state, is_zip, protocol)).tensors, state)


@IS_ZIP
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_every_view_is_what_torch_saved(is_zip, protocol, save, numbers):
    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(numbers[0, 0])
            self.register_buffer("count", torch.tensor(7))

    state = {
        "scalar": numbers[1, 2, 3, 4],
        "empty": torch.empty(0, 4, dtype=torch.float16),
        "transposed": numbers.permute(3, 1, 0, 2),
        "sliced": numbers[1:, ::2, 3, 1:5:3],
        "side of one": numbers[:, 1:2, :, 2:3].transpose(0, 1),
        "channels last": numbers.float().to(memory_format=torch.channels_last),
        "expanded": numbers[0, 0, :1].expand(3, 6),
        "diagonal": numbers[0].diagonal(dim1=1, dim2=2),
        "tied": numbers[1:, ::2, 3, 1:5:3],
        "parameter": torch.nn.Parameter(numbers.half(), requires_grad=False),
        **Module().state_dict(),
    }
    assert_equal(open_weights(save(state, is_zip, protocol)).tensors, state)


@IS_ZIP
def test_a_whole_training_run_s_file(is_zip, save, numbers):
    module = torch.nn.Linear(6, 5)
    optimizer = torch.optim.AdamW(module.parameters())
    module(numbers.float()).sum().backward()
    optimizer.step()
    averaged = {key: value + 1 for key, value in module.state_dict().items()}
    arguments = argparse.Namespace(
        input_size=96, lr=np.float64(1e-3), seed=np.int64(3), betas=(0.9, 0.95), names={"a"}
    )
    path = save(
        {
            "model": module.state_dict(),
            "model_ema": averaged,
            "optimizer": optimizer.state_dict(),
            "scaler": {"scale": 65536.0, "device": torch.device("cpu")},
            "shape": numbers.shape,
            "best": np.float32(76.7),
            "epoch": 11,
            "args": arguments,
        },
        is_zip,
    )
    checkpoint = open_weights(path)
    assert_equal(checkpoint.tensors, module.state_dict())
    assert checkpoint.description.image_size == (96, 96)
    assert checkpoint.details == {"epoch": 11, "other_entries": ["model_ema"]}
    assert_equal(open_weights(path, entry="model_ema").tensors, averaged)


@pytest.mark.parametrize("entry", ["model", "state_dict", "module", "model_state_dict"])
def test_the_usual_entries_are_found(entry, save, numbers):
    state = {"weight": numbers}
    assert_equal(open_weights(save({"other": [numbers], entry: state})).tensors, state)


def test_an_entry_that_is_not_there_is_an_error_that_lists_those_that_are(save, numbers):
    path = save({"model": {"w": numbers}, "ema": {"w": numbers}, "lr": {"base": 1.0}})
    with pytest.raises(WeightsError, match=r"no state dict 'model_ema'\. It has: model, ema$"):
        open_weights(path, entry="model_ema")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "holds a list, not a dict of tensors"),
        ({"student": {"w": 2.0}, "step": 3}, "no state dict. It holds: student, step"),
        (
            {"student": {"w": torch.ones(2)}, "teacher": {"w": torch.ones(2)}},
            "several state dicts; name one as `entry`: student, teacher",
        ),
        ({}, "no state dict. It holds: nothing"),
        (torch.ones(2), "holds a View, not a dict of tensors"),
    ],
)
def test_a_file_without_a_state_dict_is_an_error_that_says_what_it_holds(content, message, save):
    with pytest.raises(WeightsError, match=message):
        open_weights(save(content))


def test_the_only_state_dict_is_taken_whatever_its_name_and_what_is_beside_it(save, numbers):
    state = {"weight": numbers}
    path = save({"net": state, "best_acc1": torch.tensor(71.2), "epoch": 3})
    assert_equal(open_weights(path).tensors, state)


@IS_ZIP
def test_a_key_that_is_there_twice_is_refused(is_zip, save):
    path = save({"model": {"head.bias": torch.ones(2), "hexd.bias": torch.zeros(2)}}, is_zip)
    content = path.read_bytes()
    if is_zip:
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, entry in entries.items():
                archive.writestr(name, entry.replace(b"hexd.bias", b"head.bias"))
    else:
        path.write_bytes(content.replace(b"hexd.bias", b"head.bias"))
    with pytest.raises(WeightsError, match="the key 'head.bias' twice"):
        open_weights(path)


def test_harmless_things_in_the_arguments_of_a_run(save, numbers):
    arguments = argparse.Namespace(folder=Path("/runs"), dtype=torch.float32)
    state = {"weight": numbers}
    assert_equal(open_weights(save({"model": state, "args": arguments})).tensors, state)


@pytest.mark.parametrize(
    "meta", [{"dataset_meta": {"classes": ["cat", "dog"]}}, {"CLASSES": ("cat", "dog")}]
)
def test_class_names_in_the_meta_data_of_mmpretrain(meta, save, numbers):
    content = {"meta": {"epoch": 3, "cfg": "model = dict()", **meta}, "state_dict": {"w": numbers}}
    assert open_weights(save(content)).description.class_names == ("cat", "dog")


@IS_ZIP
def test_a_pickled_module_is_refused_with_the_way_out(is_zip, save):
    path = save({"model": torch.nn.Linear(2, 3)}, is_zip)
    message = (
        r"file\.pt was refused: it holds a pickled torch\.nn\.modules\.linear\.Linear, .* "
        r"nothing of it was run.* torch\.save\(\{'model': .*\.state_dict\(\)$"
    )
    with pytest.raises(WeightsError, match=message):
        open_weights(path)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("entry", [None, "model"])
def test_torch_loads_what_is_written_here(mmap, entry, tmp_path, numbers):
    state = {f"layer.{name}": (10 * numbers).to(getattr(torch, name)) for name in DTYPES}
    state |= {"scalar": torch.tensor(2.5), "empty": torch.empty(0, 4), "größe 7": torch.ones(1)}
    torch.save(state, tmp_path / "source.pt")
    path = tmp_path / "written.pt"
    pytorch_writer.write(path, open_weights(tmp_path / "source.pt").tensors, entry)

    loaded = torch.load(path, weights_only=True, mmap=mmap)
    if entry is not None:
        assert list(loaded) == [entry]
        loaded = loaded[entry]
    assert list(loaded) == list(state)
    for key, tensor in state.items():
        assert loaded[key].shape == tensor.shape
        assert loaded[key].dtype == tensor.dtype
        assert loaded[key].is_contiguous()
        assert bits(loaded[key]) == bits(tensor), key
    assert_equal(open_weights(path).tensors, state)


def test_numbers_are_aligned_as_torch_aligns_them(tmp_path, rng):
    arrays = {f"w{side}": rng.normal(size=side).astype("float32") for side in (1, 3, 17)}
    tensors = {
        key: StoredTensor(array.shape, "float32", lambda array=array: array)
        for key, array in arrays.items()
    }
    pytorch_writer.write(tmp_path / "file.pt", tensors, None)
    content = Path(tmp_path / "file.pt").read_bytes()
    with zipfile.ZipFile(tmp_path / "file.pt") as archive:
        assert archive.testzip() is None  # all checksums fit
    for array in arrays.values():
        assert content.index(array.tobytes()) % 64 == 0
