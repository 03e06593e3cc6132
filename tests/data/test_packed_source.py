import json
import sys

import numpy as np
import pytest

from keras_convnextv2.data import (
    ImageBatches,
    ImageSourceError,
    NoSuchSplitError,
    PixelRange,
    open_source,
    pack_images,
)
from keras_convnextv2.data.packed_source import INDEX_NAME
from keras_convnextv2.data.tf_example import read_example, write_example

pytestmark = pytest.mark.one_backend


@pytest.fixture
def folder(tmp_path, write_image):
    """Two classes of 10 images, of which every fifth is test."""
    for name, seed in (("bolt", 0), ("nut", 100)):
        for number in range(10):
            path = tmp_path / "parts" / name / f"{number}.png"
            write_image(path, (5, 7), seed=seed + number)
    return tmp_path / "parts"


def sources_of(folder):
    return {split: open_source(folder, split) for split in ("train", "test")}


def test_packed_images_are_those_of_the_files(folder, tmp_path):
    told, sources = [], sources_of(folder)
    pack_images(sources, tmp_path / "packed", progress=lambda *so_far: told.append(so_far))
    assert told[15] == ("train", 16, 16) and told[-1] == ("test", 4, 4)
    for split, source in sources.items():
        packed = open_source(tmp_path / "packed", split)
        assert (packed.class_names, packed.mean, packed.std) == (
            source.class_names, source.mean, source.std
        )  # fmt: skip
        assert packed.description.startswith(f"{len(source)} images in 2 classes packed in")
        np.testing.assert_array_equal(packed.labels, source.labels)
        places = range(len(source))
        np.testing.assert_array_equal(packed.read(places, (5, 7)), source.read(places, (5, 7)))
        stored = packed.stored(packed.records[-1])
        assert stored.name == f"nut/{9 if split == 'test' else 8}.png"
        assert stored.content == (folder / stored.name).read_bytes()


def test_packed_images_make_the_same_batches_with_threads(folder, tmp_path):
    sources = sources_of(folder)
    pack_images(sources, tmp_path / "packed")
    options = {"labelled": True, "shuffle": True, "seed": 1}
    expected = list(ImageBatches(sources["train"], (6, 6), 5, **options))
    packed = open_source(tmp_path / "packed", "train")
    found = list(ImageBatches(packed, (6, 6), 5, workers=4, **options))
    for (images, labels), (other_images, other_labels) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)


def test_large_sources_are_spread_over_files_and_parts_of_them_can_be_taken(folder, tmp_path):
    sources = sources_of(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*.png"))
    pack_images(sources, tmp_path / "packed", megabytes=size / 5e6)
    assert len(list((tmp_path / "packed").glob("train-*.array_record"))) == 4
    packed = open_source(tmp_path / "packed", "train").labels_per_class(3, seed=0)
    files = sources["train"].labels_per_class(3, seed=0)
    np.testing.assert_array_equal(packed.read(range(6), (5, 7)), files.read(range(6), (5, 7)))


def test_several_labels_a_range_and_bands_are_kept(tmp_path):
    from PIL import Image

    (tmp_path / "deep").mkdir()
    for number in range(3):
        values = np.random.default_rng(number).integers(0, 4096, (5, 7)).astype("uint16")
        Image.fromarray(values).save(tmp_path / "deep" / f"{number}.png")
    lines = ["path,label", "0.png,a;b", "1.png,", "2.png,b"]
    (tmp_path / "deep" / "t.csv").write_text("\n".join(lines))
    source = open_source(tmp_path / "deep" / "t.csv", "train")
    pack_images({"train": source}, tmp_path / "packed")
    packed = open_source(tmp_path / "packed", "train")
    assert packed.pixel_range == PixelRange(0, 4095)
    np.testing.assert_array_equal(packed.labels, [[1, 1], [0, 0], [0, 1]])
    assert packed.labels.dtype == "float32"
    np.testing.assert_array_equal(packed.read(range(3), (5, 7)), source.read(range(3), (5, 7)))


def test_a_damaged_image_is_named_by_where_it_came_from(folder, tmp_path):
    sources = sources_of(folder)
    (folder / "bolt" / "0.png").write_bytes(b"broken")
    pack_images(sources, tmp_path / "packed")
    packed = open_source(tmp_path / "packed", "train")
    with pytest.raises(ImageSourceError, match=r"^bolt/0\.png cannot be read as an image"):
        packed.read([0], (5, 7))


def test_what_cannot_be_packed_is_refused(folder, tmp_path, write_npz, write_image):
    sources = sources_of(folder)
    with pytest.raises(ImageSourceError, match="parts is not empty, and nothing is overwritten"):
        pack_images(sources, folder)
    write_npz(tmp_path / "arrays", "train")
    with pytest.raises(ImageSourceError, match="Only image files are packed, not 8 images"):
        pack_images({"train": open_source(tmp_path / "arrays", "train")}, tmp_path / "packed")
    write_image(tmp_path / "others" / "train" / "cow" / "1.png")
    others = {"test": open_source(tmp_path / "others", "train")}
    with pytest.raises(ImageSourceError, match="The splits differ in their classes"):
        pack_images({**sources, **others}, tmp_path / "packed")


def test_a_folder_that_is_not_whole_is_refused(folder, tmp_path, monkeypatch):
    packed = tmp_path / "packed"
    pack_images(sources_of(folder), packed)
    with pytest.raises(
        NoSuchSplitError, match="no validation split: it was packed with 'train', 't"
    ):
        open_source(packed, "validation")
    index = json.loads((packed / INDEX_NAME).read_text())
    for change, problem in (
        ({"version": 9}, "version 9 of the format, 1 is read"),
        ({"splits": {"train": {**index["splits"]["train"], "num_images": 17}}}, "should hold 17"),
        ({"splits": None}, "TypeError"),
    ):
        (packed / INDEX_NAME).write_text(json.dumps({**index, **change}))
        with pytest.raises(ImageSourceError, match=problem):
            open_source(packed, "train")
    (packed / INDEX_NAME).write_text(json.dumps(index))
    (packed / "train-00000.array_record").write_bytes(b"x" * 100)
    with pytest.raises(ImageSourceError, match="The files of .*packed cannot be read"):
        open_source(packed, "train")
    monkeypatch.setitem(sys.modules, "array_record.python", None)
    for name in ("array_record_data_source", "array_record_module"):
        monkeypatch.delitem(sys.modules, f"array_record.python.{name}", raising=False)
    with pytest.raises(ImageSourceError, match=r"package array-record reads.*v2\[array_record\]"):
        open_source(packed, "test")


# Of tensorflow 2.21: tf.train.Example with the features box [.5], label [-1, 300], name [cat, d].
_RECORD = bytes.fromhex(
    "0a400a0f0a03626f78120812060a040000003f0a190a056c6162656c12101a0e0a0cffffffffffffffffff01ac02"
    "0a120a046e616d65120a0a080a036361740a0164"
)


def test_records_are_read_as_tensorflow_writes_them():
    assert read_example(_RECORD) == {"label": [-1, 300], "name": [b"cat", b"d"]}


def test_records_are_read_as_they_were_written():
    features = {"image": [bytes(range(256)) * 3], "label": [0, 127, 128, 2**40], "name": [b"a"]}
    assert read_example(write_example(features)) == features


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_record_that_is_cut_off_is_refused(cut):
    with pytest.raises(ValueError, match="it is no record of features"):
        read_example(_RECORD[:-cut])
