"""`tiny_tfds` was written by tensorflow-datasets 4.9.10: images of 5x7 random pixels, by number."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_convnextv2.data import (
    ImageBatches,
    ImageSourceError,
    ImageSourceWarning,
    NoSuchSplitError,
    open_source,
)
from keras_convnextv2.data.tf_example import read_example, write_example
from keras_convnextv2.data.tf_records import TfRecords

pytestmark = pytest.mark.one_backend

TINY = Path(__file__).parent / "tiny_tfds"
NUMBERS = {"train": [4, 0, 3, 1, 2], "test": [6, 5]}  # as it has shuffled them; odd ones are bees


def pixels_of(number):
    return np.random.default_rng(number).integers(0, 256, (5, 7, 3)).astype("uint8")


@pytest.fixture
def changed(tmp_path):
    """A copy of the data set, with changed entries of its two descriptions."""

    def change(info=(), features=()):
        folder = tmp_path / "tiny"
        shutil.copytree(TINY, folder, dirs_exist_ok=True)
        for name, changes in (("dataset_info", info), ("features", features)):
            path = folder / f"{name}.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), **dict(changes)}))
        return folder

    return change


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_data_set_of_tensorflow_datasets_is_read_without_it(split):
    source = open_source(TINY, split)
    numbers = NUMBERS[split]
    assert source.class_names == ("ant", "bee")
    assert source.labels.tolist() == [number % 2 for number in numbers]
    expected = np.stack([pixels_of(number) for number in numbers])
    np.testing.assert_array_equal(source.read(range(len(numbers)), (5, 7)), expected)
    assert source.description == f"{len(numbers)} images in 2 classes of {split} in {TINY}"


def test_threads_read_batches_of_it(changed):
    source = open_source(TINY, "train")
    expected = list(ImageBatches(source, (5, 7), 2, labelled=True, shuffle=True))
    found = list(ImageBatches(source, (5, 7), 2, labelled=True, shuffle=True, workers=4))
    for batch, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(batch[0], other[0])


def test_several_files_are_one_split_in_order(changed):
    entry = {"name": "train", "shardLengths": ["5", "2"]}
    folder = changed({"splits": [entry]})
    for number, split in enumerate(("train", "test")):
        stored = folder / f"tiny-{split}.tfrecord-00000-of-00001"
        stored.rename(folder / f"tiny-train.tfrecord-{number:05d}-of-00002")
    source = open_source(folder, "train")
    numbers = NUMBERS["train"] + NUMBERS["test"]
    assert source.labels.tolist() == [number % 2 for number in numbers]
    np.testing.assert_array_equal(source.read([6], (5, 7))[0], pixels_of(5))


def test_files_of_array_records_are_read_too(changed):
    from array_record.python.array_record_module import ArrayRecordWriter

    folder = changed({"fileFormat": "array_record"})
    (stored,) = folder.glob("tiny-train.tfrecord-*")
    path = folder / "tiny-train.array_record-00000-of-00001"
    writer, records = ArrayRecordWriter(str(path), "group_size:1"), TfRecords([stored])
    for place in range(len(records)):
        writer.write(bytes(records[place]))
    writer.close()
    source = open_source(folder, "train")
    assert source.labels.tolist() == [0, 0, 1, 1, 0]
    np.testing.assert_array_equal(source.read([2], (5, 7))[0], pixels_of(3))


@pytest.fixture
def relabelled(changed):
    """A copy with a split more, validation, of the images of train; test has other labels."""

    def change(labels, splits=("train", "validation", "test")):
        counts = {"train": "5", "validation": "5", "test": "2"}
        entries = [{"name": split, "shardLengths": [counts[split]]} for split in splits]
        folder = changed({"splits": entries})
        stored = {split: folder / f"tiny-{split}.tfrecord-00000-of-00001" for split in counts}
        shutil.copy(stored["train"], stored["validation"])
        records = TfRecords([stored["test"]])
        content = b""
        for place, label in enumerate(labels):
            example = {**read_example(records[place]), "label": [label % (1 << 64)]}
            record = write_example(example)
            content += len(record).to_bytes(8, "little") + bytes(4) + record + bytes(4)
        stored["test"].write_bytes(content)
        return folder

    return change


def test_a_test_split_without_labels_gives_way_to_validation_and_says_so(relabelled):
    folder = relabelled([-1, -1])
    with pytest.warns(ImageSourceWarning, match="test has no labels; validation is taken in its"):
        source = open_source(folder, "test")
    assert source.labels.tolist() == [number % 2 for number in NUMBERS["train"]]
    assert source.description == f"5 images in 2 classes of validation in {folder}"
    with pytest.raises(NoSuchSplitError, match="and validation is its test split. Hold"):
        open_source(folder, "validation")
    (folder / "tiny-test.tfrecord-00000-of-00001").unlink()  # what it holds is then not known
    assert len(open_source(folder, "validation")) == 5


def test_labels_that_are_of_no_class_are_refused_when_it_is_opened(relabelled):
    for labels, splits, problem in (
        ([-1, -1], ("train", "test"), "tiny: test has no labels: all are -1"),
        ([-1, 0], ("train", "validation", "test"), "tiny: test has labels from -1 to 0 for 2 cl"),
        ([0, 2], ("train", "test"), "tiny: test has labels from 0 to 2 for 2 classes"),
    ):
        with pytest.raises(ImageSourceError, match=problem) as caught:
            open_source(relabelled(labels, splits), "test")
        assert not isinstance(caught.value, NoSuchSplitError)
    assert open_source(relabelled([1, 0]), "test").labels.tolist() == [1, 0]
    assert len(open_source(relabelled([1, 0]), "validation")) == 5


def test_without_a_class_images_are_unlabelled(changed):
    features = json.loads((TINY / "features.json").read_text())["featuresDict"]["features"]
    del features["label"]
    source = open_source(changed(features={"featuresDict": {"features": features}}), "train")
    assert source.labels is None and source.class_names == ()


def test_a_class_without_names_has_numbers(changed):
    folder = changed()
    (folder / "label.labels.txt").unlink()
    assert open_source(folder, "train").class_names == ("0", "1")


def test_what_is_not_read_is_refused_by_name(changed):
    features = json.loads((TINY / "features.json").read_text())["featuresDict"]["features"]
    two = {**features, "mask": features["image"]}
    deep = {**features, "image": {**features["image"], "image": {"dtype": "uint16"}}}
    for changes, problem in (
        ({"info": {"fileFormat": "riegeli"}}, "files of the format 'riegeli', and tfrecord and"),
        ({"features": {"featuresDict": {"features": two}}}, r"image \(Image\).* mask \(Image\)"),
        ({"features": {"featuresDict": {"features": deep}}}, "images of uint16"),
        ({"info": {"splits": []}}, "has no train split: it has none"),
        ({"info": {"splits": [{"name": "train", "shardLengths": ["9"]}]}}, "9 records should be"),
    ):
        with pytest.raises(ImageSourceError, match=problem):
            open_source(changed(**{"info": {}, "features": {}, **changes}), "train")
    with pytest.raises(NoSuchSplitError, match="no validation split: it has 'train', 'test'"):
        open_source(TINY, "validation")


@pytest.mark.parametrize("damage", ["cut", "missing", "other"])
def test_damaged_files_are_refused(changed, damage):
    folder = changed()
    (stored,) = folder.glob("tiny-train.tfrecord-*")
    content = stored.read_bytes()
    stored.unlink()
    if damage != "missing":
        stored.write_bytes(content[:-9] if damage == "cut" else b"\xff" * 400)
    with pytest.raises(ImageSourceError, match="tiny cannot be read as a data set of TensorFlow D"):
        open_source(folder, "train")


def test_a_damaged_image_is_named_by_its_place(changed):
    folder = changed()
    (stored,) = folder.glob("tiny-test.tfrecord-*")
    content = stored.read_bytes()
    stored.write_bytes(content.replace(b"IHDR", b"XXXX", 1))
    with pytest.raises(ImageSourceError, match="tiny: test record 0 cannot be read as an image"):
        open_source(folder, "test").read([0], (5, 7))
