"""Folders and lists of images that somebody has made to do harm: read, or refused in a line."""

import io
import json
import os
import shutil
import struct
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from keras_convnextv2.data import ImageSourceError, open_source, pack_images
from keras_convnextv2.data.image_source import UnreadableImageError
from keras_convnextv2.data.packed_source import INDEX_NAME
from keras_convnextv2.data.regular_file import RegularFile
from tests.data.test_tfds_source import TINY

pytestmark = pytest.mark.one_backend


def test_links_that_leave_the_folder_are_followed_and_read_as_pictures_alone(tmp_path, write_image):
    pixels = write_image(tmp_path / "elsewhere" / "a.png", (5, 7))
    (tmp_path / "elsewhere" / "secret.txt").write_text("a word")
    (tmp_path / "pictures").mkdir()
    for name, target in (("a", "a.png"), ("b", "secret.txt"), ("c", "nothing")):
        (tmp_path / "pictures" / f"{name}.png").symlink_to(tmp_path / "elsewhere" / target)
    (tmp_path / "pictures" / "d.png").symlink_to("/dev/zero")
    source = open_source(tmp_path / "pictures", "train")
    np.testing.assert_array_equal(source.read([0], (5, 7))[0], pixels)
    for place, reason in enumerate(("cannot identify", "No such file", "a device"), 1):
        with pytest.raises(UnreadableImageError, match=reason) as caught:
            source.read([place], (5, 7))
        assert "a word" not in str(caught.value)
    (tmp_path / "pictures" / "e.png").symlink_to("e.png")
    with pytest.raises(ImageSourceError, match="e.png cannot be read .* symbolic links"):
        open_source(tmp_path / "pictures", "train")


def test_links_that_make_more_ways_than_can_be_gone_are_refused(tmp_path, write_image):
    folders = [tmp_path / str(number) for number in range(12)]
    for folder in folders:
        write_image(folder / "a.png")
    for folder in folders:  # 12! ways lead through all
        for other in folders:
            if other is not folder:
                (folder / f"to {other.name}").symlink_to(other)
    with pytest.raises(ImageSourceError, match="Links lead to one folder in more than 100 ways"):
        open_source(tmp_path, "train")


def test_a_link_to_a_folder_above_is_not_followed(tmp_path, write_image):
    write_image(tmp_path / "cat" / "a.png")
    (tmp_path / "cat" / "circle").symlink_to(tmp_path)
    assert len(open_source(tmp_path / "cat", "train")) == 1


@pytest.mark.parametrize("depth", [90, 500])
def test_folders_that_lie_too_deep_are_refused(tmp_path, write_image, depth):
    write_image(Path(tmp_path, *"a" * depth) / "a.png")
    if depth == 90:
        assert len(open_source(tmp_path, "train")) == 1
        return
    with pytest.raises(ImageSourceError, match="lies more than 100 folders deep"):
        open_source(tmp_path, "train")


def test_what_takes_a_files_name_after_it_was_looked_at_is_not_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    real = os.open

    def open_later(name, *arguments):
        path.unlink()
        os.mkfifo(path)
        return real(name, *arguments)

    monkeypatch.setattr(os, "open", open_later)
    with pytest.raises(ValueError, match="it is a named pipe, not a file"):
        RegularFile(path)


def test_no_room_is_made_for_more_than_a_file_holds(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(256)) * 1000)
    with RegularFile(path) as file:
        assert file.read(10) == bytes(range(10))
        rest = file.read(2**62)  # for which there is no room on any machine
        assert len(rest) == 256_000 - 10 and rest[:2] == b"\n\x0b"
        assert file.read(2**62) == b"" and file.read() == b""


def test_a_picture_of_more_pixels_than_its_limit_is_refused_at_once(tmp_path):
    def chunk(name, content):
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    rows = zlib.compress(bytes(50_001 * 1000))  # a thousandth of those that it says it has
    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    content = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
    (tmp_path / "bomb.jpg").write_bytes(content)
    started = time.monotonic()
    with pytest.raises(
        UnreadableImageError, match="2.5e.03 million, above the limit|decompression"
    ):
        open_source(tmp_path, "train").read([0], (5, 7))
    assert time.monotonic() - started < 5  # to decode it would take tens


def write_array(shape, dtype, content):
    head = io.BytesIO()
    words = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, words)
    return head.getvalue() + content


@pytest.mark.parametrize(
    ("shape", "dtype"), [((2**40, 8, 8, 3), "|u1"), ((2**20,), "<U4000000"), ((8, 8, 8, 3), "<f8")]
)
def test_an_npz_that_says_it_holds_more_than_it_does_is_refused(tmp_path, shape, dtype):
    with zipfile.ZipFile(tmp_path / "train.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", write_array(shape, dtype, bytes(8 * 8 * 8 * 3)))
    with pytest.raises(ImageSourceError, match="it is cut off, or is no array"):
        open_source(tmp_path, "train")


@pytest.fixture
def packed(tmp_path, write_image):
    for number in range(6):
        write_image(tmp_path / "pictures" / "ab"[number % 2] / f"{number}.png")
    pack_images({"train": open_source(tmp_path / "pictures", "train")}, tmp_path / "packed")
    return tmp_path / "packed"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"class_names": [1]}, "its channels or class names are none"),
        ({"mean": [0.5]}, "its mean and std are not those of 3 channels"),
        ({"std": [0.5, 0.5, 0.0]}, "its mean and std are not those of 3 channels"),
        ({"files": ["../packed/train-00000.array_record"]}, "its files are not beside it"),
        ({"labels": "/etc/passwd"}, "its files are not beside it"),
        ({"num_images": True}, "its number of images is none"),
    ],
)
def test_an_index_of_packed_images_that_was_changed_is_refused(packed, change, problem):
    index = json.loads((packed / INDEX_NAME).read_text())
    of_split = {name: value for name, value in change.items() if name in index["splits"]["train"]}
    index["splits"]["train"] |= of_split
    index |= {name: value for name, value in change.items() if name not in of_split}
    (packed / INDEX_NAME).write_text(json.dumps(index))
    with pytest.raises(ImageSourceError, match=problem):
        open_source(packed, "train")


def test_packed_labels_of_other_classes_are_refused(packed):
    for labels in (np.full(6, 2, "int32"), np.zeros((6, 3), "float32"), np.zeros(6, "float64")):
        np.save(packed / "train.labels.npy", labels)
        with pytest.raises(ImageSourceError, match="has no labels of 2 classes"):
            open_source(packed, "train")


@pytest.mark.parametrize("name", [INDEX_NAME, "train-00000.array_record", "train.labels.npy"])
def test_pipes_in_the_place_of_packed_files_are_not_waited_for(packed, name):
    (packed / name).unlink()
    os.mkfifo(packed / name)
    with pytest.raises(ImageSourceError, match="it is a named pipe, not a file"):
        open_source(packed, "train")


def test_a_pipe_in_the_place_of_a_table_or_of_records_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "photos.csv")
    with pytest.raises(ImageSourceError, match="it is a named pipe, not a file"):
        open_source(tmp_path / "photos.csv", "train")
    tiny = shutil.copytree(TINY, tmp_path / "tiny")
    (records,) = tiny.glob("*train.tfrecord*")
    records.unlink()
    os.mkfifo(records)
    with pytest.raises(ImageSourceError, match="it is a named pipe, not a file"):
        open_source(tiny, "train")


def test_a_template_of_names_is_no_program(tmp_path):
    tiny = shutil.copytree(TINY, tmp_path / "tiny")
    info = json.loads((tiny / "dataset_info.json").read_text())
    for entry in info["splits"]:
        entry["filepathTemplate"] = "{DATASET:>99999999999}{SPLIT.__class__}"
    (tiny / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(ImageSourceError, match="No such file.*DATASET:>99999999999"):
        open_source(tiny, "train")


def test_a_line_of_json_that_is_too_deep_is_named(tmp_path):
    (tmp_path / "photos.jsonl").write_text("[" * 100_000)
    with pytest.raises(ImageSourceError, match="1 of 1 rows are bad: line 1 is no JSON"):
        open_source(tmp_path / "photos.jsonl", "train")
