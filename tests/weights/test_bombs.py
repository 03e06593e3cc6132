"""Small files that ask for much memory or time: they get little of either."""

import json
import struct
import zipfile

import pytest

from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.files import open_weights
from tests.reference.processes import run_python
from tests.reference.written_pickles import (
    PROTOCOL,
    named,
    plain,
    state,
    tensor,
    write_legacy,
    write_zip,
)

pytestmark = pytest.mark.one_backend
DEEP = 100_000
SIZE = named("torch", "Size") + b"q\1" + b"0"
ORDERED = named("collections", "OrderedDict") + b"q\1" + b"0"
SET = named("builtins", "set") + b"q\1" + b"0"
NAMESPACE = named("argparse", "Namespace") + b"q\1" + b"0"
LONG_LIST = b"](" + b"N" * 300_000 + b"eq\2" + b"0"
LONG_TUPLE = b"(" + b"N" * 300_000 + b"tq\2" + b"0"
LONG_DICT = b"}(" + b"".join(plain(str(number)) + b"N" for number in range(50_000)) + b"uq\2" + b"0"
CALLS = 100_000
# A tuple of two that hold two that hold ...: 60 opcodes, 2**60 elements in all.
DOUBLED = b")" + b"2\x86" * 60
BIG = (2**62,) * 50_000

PICKLES = {
    "a memo index": b"}r\xff\xff\xff\x7f",
    "a bytearray's length": b"\x96" + struct.pack("<Q", 2**40),
    "bytes' length": b"\x8e" + struct.pack("<Q", 2**62),
    "a text's length": b"\x8d" + struct.pack("<Q", 2**62),
    "a frame's length": b"\x95" + struct.pack("<Q", 2**62),
    "a number's length": b"\x8b" + struct.pack("<i", 2**31 - 1),
    "a long number": b"\x8b" + struct.pack("<i", 10**6) + b"\x7f" * 10**6,
    "a long number in digits": b"L" + b"7" * 10**6 + b"L\n",
    "a long number in text": b"I" + b"7" * 10**6 + b"\n",
    "deep lists": b"]" * DEEP + b"a" * (DEEP - 1),
    "deep tuples": b")" + b"\x85" * DEEP,
    "deep dicts": b"}" + (plain("a") + b"}") * DEEP + b"s" * DEEP,
    "deep namespaces": NAMESPACE + (b"h\1)\x81}" + plain("a")) * DEEP + b"N" + b"sb" * DEEP,
    "a deep key": b"})" + b"\x85" * DEEP + b"Ns",
    "a deep key among many": b"}()" + b"\x85" * DEEP + b"Nu",
    "a deep dict of protocol 0": b"()" + b"\x85" * DEEP + b"Nd",
    "a deep element of a set": b"\x8f()" + b"\x85" * DEEP + b"\x90",
    "a deep element of a frozen set": b"()" + b"\x85" * DEEP + b"\x91",
    "a deep set": SET + b"h\1](" + b")" + b"\x85" * DEEP + b"e\x85R",
    "a deep storage": b")" + b"\x85" * DEEP + b"Q",
    "a doubled key": b"}" + DOUBLED + b"Ns",
    "a doubled storage": DOUBLED + b"Q",
    "a doubled storage's name": b"("
    + plain("storage")
    + named("torch", "IntStorage")
    + DOUBLED
    + b"NNtQ",
    "many sizes of a list": LONG_LIST + SIZE + b"h\1h\2\x85R" * CALLS,
    "many sets of a list": LONG_LIST + SET + b"](" + b"h\1h\2\x85R" * CALLS + b"e",
    "many calls with a list": LONG_LIST + SET + b"](" + b"h\1h\2R" * CALLS + b"e",
    "many calls with a tuple": LONG_TUPLE + SET + b"](" + b"h\1h\2R" * CALLS + b"e",
    "many new objects of a tuple": LONG_TUPLE + NAMESPACE + b"](" + b"h\1h\2\x81" * CALLS + b"e",
    "many dicts of a dict": LONG_DICT + ORDERED + b"](" + b"h\1h\2\x85R" * CALLS + b"e",
    "many states of a dict": LONG_DICT + NAMESPACE + b"](" + b"h\1)\x81h\2b" * CALLS + b"e",
    "one dict by many names": LONG_DICT
    + b"}("
    + b"".join(plain(str(number)) + b"h\2" for number in range(10**5))
    + b"u",
    "a shape without end": state(tensor(shape=BIG, strides=BIG))[2:-1],
    "numbers without end": state(tensor(shape=(10**6, 10**6), strides=(0, 0)))[2:-1],
    "nothing but the memo": b"N" + b"\x94" * (4 * 2**20 - 10),
}
NUMBERS = {"0": bytes(2**20)}  # 2**18 of float32
SHARED = {
    "whole": tensor(shape=(2**18,), num_values=2**18),
    "from one end to the other": tensor(shape=(2,), strides=(2**18 - 1,), num_values=2**18),
}


def write_bombs(folder):
    for name, content in PICKLES.items():
        write_zip(folder / f"{name}.pt", b"\x80\4" + content + b".")
    for name, item in SHARED.items():
        write_zip(folder / f"shared {name}.pt", state(*[item] * 400), NUMBERS)
    doubled = PROTOCOL + b"](" + 2 * DOUBLED + b"e."
    write_legacy(folder / "doubled names.pt", state(tensor()), keys=doubled)
    with zipfile.ZipFile(folder / "long entries.pt", "w") as archive:
        archive.writestr("archive/data.pkl", state(tensor()))
        for number in range(80):
            archive.writestr(f"{number:060000}", b"")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """{name: [what came of it, seconds, MiB]} of every bomb, opened in a process of its own."""
    folder = tmp_path_factory.mktemp("bombs")
    write_bombs(folder)
    result = run_python("tests/reference/open_hostile.py", folder)
    assert result.returncode == 0, (result.returncode, result.stderr[-3000:])
    return json.loads(result.stdout)


BOMBS = [*PICKLES, *(f"shared {name}" for name in SHARED), "doubled names", "long entries"]


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_little_time_and_memory(name, outcomes):
    outcome, seconds, mebibytes = outcomes[name]
    assert outcome.startswith((" was refused: ", " is damaged or no PyTorch file: "))
    assert "MemoryError" not in outcome  # it was not the limit that stopped it
    assert len(outcome) < 500
    assert seconds < 10  # the largest pickle that is read takes 2 s; without bounds it is hours
    assert mebibytes < 600  # a hundred times the largest pickle that is read, 4 MiB, and some


def test_every_bomb_was_opened(outcomes):
    assert sorted(outcomes) == sorted(BOMBS)


def test_a_pickle_longer_than_any_state_dict_s_is_not_read(tmp_path):
    content = state(tensor())
    write_zip(tmp_path / "file.pt", content.ljust(4 * 2**20, b"."))
    assert list(open_weights(tmp_path / "file.pt").tensors) == ["0"]
    write_zip(tmp_path / "file.pt", content.ljust(4 * 2**20 + 1, b"."))
    with pytest.raises(WeightsError, match="data.pkl has 4194305 bytes, too many to be true"):
        open_weights(tmp_path / "file.pt")


def test_deflated_storages_are_refused(tmp_path):
    numbers = {"0": bytes(2**26)}  # 64 MiB in 64 KiB
    content = state(tensor(num_values=2**24))
    write_zip(tmp_path / "file.pt", content, numbers, zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="entry archive/data.pkl is compressed"):
        open_weights(tmp_path / "file.pt")
    with zipfile.ZipFile(tmp_path / "file.pt", "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/data/0", numbers["0"], zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="entry archive/data/0 is compressed"):
        open_weights(tmp_path / "file.pt")
