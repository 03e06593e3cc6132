"""PyTorch files that would run code or lie about their tensors: nothing is run, all is refused."""

import argparse
import copyreg
import pickle
import zipfile

import numpy as np
import pytest

from keras_convnextv2.weights import pickled_tensors
from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.files import open_weights
from tests.reference import written_pickles
from tests.reference.written_pickles import (
    PROTOCOL,
    STORAGES,
    WRITERS,
    named,
    plain,
    state,
    storage,
    tensor,
)

pytestmark = pytest.mark.one_backend

WRITER = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
EXTENSION = 241  # a code for `os.mkdir` in copyreg's registry

# Each makes the folder "marked" when Python's own unpickler reads it.
MKDIR = named("os", "mkdir")
MARKED = plain("marked")
CALL = b"\x85R"  # of what is before the last value, with that
IMPORTED = named("builtins", "__import__") + plain("os") + CALL
NAMESPACE = named("argparse", "Namespace")
CODE = {
    "os.mkdir": MKDIR + MARKED + CALL,
    "os.system": named("os", "system") + plain("mkdir marked") + CALL,
    "posix": named("posix", "mkdir") + MARKED + CALL,
    "eval": named("builtins", "eval") + plain("__import__('os').mkdir('marked')") + CALL,
    "exec": named("builtins", "exec") + plain("import os; os.mkdir('marked')") + CALL,
    "Python 2": named("__builtin__", "eval") + plain("__import__('os').mkdir('marked')") + CALL,
    "getattr": named("builtins", "getattr") + IMPORTED + plain("mkdir") + b"\x86R" + MARKED + CALL,
    "subprocess": named("subprocess", "call") + plain(["mkdir", "marked"]) + CALL,
    "a pickle inside": named("pickle", "loads")
    + plain(PROTOCOL + MKDIR + MARKED + CALL + b".")
    + CALL,
    "STACK_GLOBAL": plain("os") + plain("mkdir") + b"\x93" + MARKED + CALL,
    "a dotted name": b"\x80\4" + plain("argparse") + plain("_os.mkdir") + b"\x93" + MARKED + CALL,
    "INST": b"(" + MARKED + b"ios\nmkdir\n",
    "OBJ": b"(" + MKDIR + MARKED + b"o",
    "EXT1": b"\x82" + bytes([EXTENSION]) + MARKED + CALL,
    "as a key": b"}" + MKDIR + MARKED + CALL + b"Ns",
    "in a state": NAMESPACE + b")\x81}" + plain("a") + MKDIR + MARKED + CALL + b"sb",
    "as a storage": b"(" + plain("storage") + MKDIR + MARKED + CALL + b"tQ",
}


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """The test runs in a folder of its own, and `os.mkdir` has an extension code."""
    monkeypatch.chdir(tmp_path)
    copyreg.add_extension("os", "mkdir", EXTENSION)
    yield tmp_path
    copyreg.remove_extension("os", "mkdir", EXTENSION)


class Careless(pickle.Unpickler):
    def persistent_load(self, key):
        return key


@WRITER
@pytest.mark.parametrize("name", CODE)
def test_code_is_refused_and_not_run(name, write, in_folder):
    content = PROTOCOL + CODE[name] + b"."
    with open("content", "wb+") as file:
        file.write(content)
        file.seek(0)
        Careless(file).load()
    (in_folder / "marked").rmdir()  # so it is code

    write(in_folder / "file.pt", content)
    with pytest.raises(
        WeightsError, match="file.pt was refused: it(s pickle has opcodes| holds a)"
    ):
        open_weights(in_folder / "file.pt")
    assert not (in_folder / "marked").exists()


@pytest.mark.parametrize("part", ["content", "system", "keys"])
def test_code_anywhere_in_the_legacy_format_is_not_run(part, in_folder):
    code = PROTOCOL + MKDIR + MARKED + CALL + b"."
    parts = {"content": state(tensor()), part: code}
    written_pickles.write_legacy(in_folder / "file.pt", **parts)
    with pytest.raises(WeightsError, match="it holds a pickled os.mkdir"):
        open_weights(in_folder / "file.pt")
    (in_folder / "file.pt").write_bytes(code)
    with pytest.raises(WeightsError, match="it holds a pickled os.mkdir"):
        open_weights(in_folder / "file.pt")
    assert not (in_folder / "marked").exists()


@WRITER
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch.jit", "load"),
        ("torch._utils", "_rebuild_sparse_tensor"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch.storage", "_load_from_bytes"),
        ("numpy", "load"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("collections", "OrderedDict.fromkeys"),
        ("collections", "defaultdict"),
        ("argparse", "FileType"),
        ("argparse", "Namespace.__init__"),
        ("_codecs", "decode"),
        ("builtins", "bytearray"),
        ("functools", "partial"),
        ("operator", "attrgetter"),
        ("keras_convnextv2", "load_weights"),
        ("keras_convnextv2.weights.pickled_tensors", "View"),
        ("no_such_module", "x" * 10_000),
        ("\x1b[2J", "y"),
    ],
)
def test_what_is_not_on_the_list_is_refused_by_its_name(module, name, write, tmp_path):
    write(tmp_path / "file.pt", PROTOCOL + named(module, name) + b"(" + b"tR.")
    with pytest.raises(WeightsError, match="it holds a pickled .*nothing of it was run") as raised:
        open_weights(tmp_path / "file.pt")
    message = str(raised.value).removeprefix(str(tmp_path))
    assert len(message) < 600
    assert message.isprintable()


ORDERED = named("collections", "OrderedDict") + b")R"
STATES = {
    "of a tensor": tensor() + plain({"offset": 99, "shape": (10**12,), "strides": (2**40,)}),
    "of a tensor's slots": tensor() + plain((None, {"shape": (10**12,)})),
    "of a class": NAMESPACE + plain((None, {"__init__": 1, "marked": 2})),
    "of a function": named("torch._utils", "_rebuild_tensor_v2") + plain({"__defaults__": (1,)}),
    "of a dict": ORDERED + plain({"items": 1, "values": 2, "__class__": 3}),
    "of a dict's slots": ORDERED + plain((None, {"values": 2, "get": 3})),
    "of a number": plain(3) + plain({"real": 4}),
    "that is no dict": NAMESPACE + b")\x81" + plain([1]),
    "of a namespace": NAMESPACE + b")\x81" + plain({"__class__": 1, "__dict__": 2, "append": 3}),
    "of a namespace's slots": NAMESPACE + b")\x81" + plain((None, {"__class__": 1})),
}


@WRITER
@pytest.mark.parametrize("name", STATES)
def test_a_state_alters_nothing(name, write, tmp_path):
    """The opcode BUILD sets attributes, those of what has been checked already too."""
    before = dict(vars(argparse.Namespace)), dict(vars(pickled_tensors))
    content = PROTOCOL + b"}" + plain("args") + STATES[name] + b"bs" + plain("model")
    write(tmp_path / "file.pt", content + state(tensor())[2:-1] + b"s.")
    (read,) = open_weights(tmp_path / "file.pt").tensors.values()
    expected = np.frombuffer(STORAGES["0"], "float32")[:4]
    np.testing.assert_array_equal(read.load(), expected)
    assert (dict(vars(argparse.Namespace)), dict(vars(pickled_tensors))) == before


def test_a_state_of_the_tensor_that_is_loaded_alters_nothing(tmp_path):
    content = state(tensor() + plain({"offset": 12, "shape": (10**12,)}) + b"b")
    written_pickles.write_zip(tmp_path / "file.pt", content)
    assert open_weights(tmp_path / "file.pt").tensors["0"].load().shape == (4,)


@WRITER
@pytest.mark.parametrize(
    "options",
    [
        {"shape": (-1,)},
        {"shape": (17,)},
        {"shape": (True,)},
        {"shape": (4.0,)},
        {"shape": ("4",)},
        {"shape": [4]},
        {"shape": 4, "strides": 1},
        {"shape": (4, 4)},
        {"shape": (4, 5), "strides": (4, 1)},
        {"shape": (2**62, 2**62), "strides": (0, 0)},
        {"shape": (0, 2**62), "strides": (1, 1)},
        {"shape": (10**15,), "strides": (0,)},
        {"shape": (1,) * 65, "strides": (1,) * 65},
        {"strides": (-1,)},
        {"strides": (2**62,)},
        {"strides": (10**30,)},
        {"strides": (True,)},
        {"strides": (6,)},
        {"strides": (1, 1)},
        {"offset": 13},
        {"offset": -1},
        {"offset": 2**63},
        {"offset": None},
        {"num_values": -1},
        {"num_values": True},
        {"num_values": 2**62},
        {"num_values": 2**80},
        {"num_values": 17},  # more than the file has
        {"num_values": "16"},
        {"kind": "module"},
        {"kind": ["storage"]},
        {"key": "1"},
        {"key": ""},
        {"key": 0},
        {"key": None},
        {"key": ("0",)},
        {"key": "../data/0"},
        {"key": "../../../../etc/passwd"},
        {"key": "/etc/passwd"},
        {"key": "0\0"},
        {"key": "x" * 100_000},
        {"dtype": "Size"},
        {"rest": plain(("a", 0, 4))},
        {"rest": plain(3) + plain(4)},
    ],
    ids=lambda options: str(options)[:40],
)
def test_a_tensor_that_cannot_be_is_refused(options, write, tmp_path):
    write(tmp_path / "file.pt", state(tensor(**options)))
    with pytest.raises(WeightsError, match="file.pt (was refused|is damaged)") as raised:
        open_weights(tmp_path / "file.pt")
    assert len(str(raised.value)) < 600


@WRITER
def test_one_storage_of_two_sizes_is_refused(write, tmp_path):
    write(tmp_path / "file.pt", state(tensor(), tensor(num_values=8)))
    with pytest.raises(WeightsError, match="two storages named '0'"):
        open_weights(tmp_path / "file.pt")


def test_a_storage_of_another_size_than_it_says_is_refused_in_the_legacy_format(tmp_path):
    written_pickles.write_legacy(tmp_path / "file.pt", state(tensor(num_values=15)))
    with pytest.raises(WeightsError, match="cut short or of another size"):
        open_weights(tmp_path / "file.pt")


@pytest.mark.parametrize(
    "keys", [["0", "0"], ["0", "1"], [], [0], [("0",)], None, ["0", []]], ids=str
)
def test_a_list_of_storages_that_is_not_that_of_the_tensors_is_refused(keys, tmp_path):
    keys = pickle.dumps(keys, 2)
    written_pickles.write_legacy(tmp_path / "file.pt", state(tensor()), keys=keys)
    with pytest.raises(WeightsError, match="list of storages|damaged"):
        open_weights(tmp_path / "file.pt")


@pytest.mark.parametrize("order", [b"big", b"", b"little" * 10**6])
def test_numbers_of_another_byte_order_are_refused(order, tmp_path):
    with zipfile.ZipFile(tmp_path / "file.pt", "w") as archive:
        archive.writestr("archive/data.pkl", state(tensor()))
        archive.writestr("archive/byteorder", order)
        archive.writestr("archive/data/0", STORAGES["0"])
    with pytest.raises(WeightsError, match="big-endian|6000000 bytes, too many"):
        open_weights(tmp_path / "file.pt")
    system = pickle.dumps({"little_endian": False}, 2)
    written_pickles.write_legacy(tmp_path / "file.pt", state(tensor()), system=system)
    with pytest.raises(WeightsError, match="big-endian"):
        open_weights(tmp_path / "file.pt")


def test_a_lone_storage_is_no_state_dict(tmp_path):
    written_pickles.write_zip(tmp_path / "file.pt", PROTOCOL + storage() + b".")
    with pytest.raises(WeightsError, match="holds a Storage, not a dict of tensors"):
        open_weights(tmp_path / "file.pt")
