"""What is often found where weights should be, and bytes of no meaning."""

import os
import random

import pytest

from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.files import open_weights

pytestmark = pytest.mark.one_backend

POINTER = """version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 14889321
"""


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.keras", "a.weights.h5", "a"])
@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "begins with b'<!DOCTYP'"),
        (b'{"error": "Repository not found"}', "begins with b'{\"error\"'"),
        (POINTER.encode(), "begins with b'version '"),
        (b"\x1f\x8b\x08\x00" + bytes(100), r"begins with b'\\x1f\\x8b"),
        (b"\x93NUMPY\x01\x00v\x00{'descr'", r"begins with b'\\x93NUMPY"),
        (bytes(1000), r"begins with b'\\x00"),
    ],
)
def test_what_is_no_weights_file_is_refused_whatever_its_name(content, shown, name, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=f"{name} {shown}.*a web page or a Git LFS pointer"):
        open_weights(tmp_path / name)


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"\x80\x02",
        b"\x80\x04",
        b"\x89HDF\r\n\x1a\n",
        b"12345678{",
    ],
)
def test_random_bytes_after_any_magic_number_are_refused(start, tmp_path):
    generator = random.Random(repr(start))
    for size in (0, 1, 7, 20, 300, 5000):
        (tmp_path / "file").write_bytes(start + generator.randbytes(size))
        with pytest.raises(WeightsError, match=str(tmp_path / "file")):
            open_weights(tmp_path / "file")


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # opening it would wait without end
    (tmp_path / "loop").symlink_to("loop")
    for name in ("nothing", "pipe", "loop", "nul\0"):
        with pytest.raises(WeightsError, match="no file or folder"):
            open_weights(tmp_path / name)
    with pytest.raises(WeightsError, match="cannot be read: OSError.*too long"):
        open_weights(tmp_path / ("x" * 5000))


@pytest.mark.parametrize("content", [b"\xff", b"{", b"[" * 100_000, b"9" * 5000, b" " * 2**25])
def test_a_folder_with_a_damaged_config_is_refused(content, tmp_path):
    text = b'{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'
    (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    assert list(open_weights(tmp_path).tensors) == ["w"]
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(WeightsError, match="config.json"):
        open_weights(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="holds none of model.safetensors, "):
        open_weights(tmp_path)
