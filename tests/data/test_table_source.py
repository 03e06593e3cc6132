import json

import numpy as np
import pytest

from keras_convnextv2.data import ImageBatches, ImageSourceError, NoSuchSplitError, open_source

pytestmark = pytest.mark.one_backend


@pytest.fixture
def write_table(tmp_path, write_image):
    """Writes a table of some lines beside 12 images, and returns its path."""

    def write(*lines, name="photos.csv"):
        for number in range(12):
            write_image(tmp_path / "pictures" / f"{number}.png", (5, 7), seed=number)
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
        return tmp_path / name

    return write


def numbers_in(source):
    return [int(path.rpartition("/")[2].removesuffix(".png")) for path in source.records]


def test_a_table_gives_the_images_and_labels_of_each_split(write_table, tmp_path):
    lines = [
        f"pictures/{n}.png,{'dog' if n % 3 else ' cat'},{'train' if n < 8 else 'val'}"
        for n in range(11)
    ]
    path = write_table("Path,Label,Split", *lines, f"{tmp_path}/pictures/11.png,cat,Test")
    train, validation, test = (open_source(path, kind) for kind in ("train", "validation", "test"))
    assert train.class_names == test.class_names == ("cat", "dog")
    assert numbers_in(train) == [*range(8)] and train.labels.tolist() == [0, 1, 1, 0, 1, 1, 0, 1]
    assert numbers_in(validation) == [8, 9, 10] and validation.labels.tolist() == [1, 0, 1]
    assert numbers_in(test) == [11] and test.labels.tolist() == [0]
    assert train.labels.dtype == "int32"
    assert train.description == f"8 images in 2 classes in {path} (train)"
    assert train.read([0], (5, 7)).any()


def test_several_labels_an_image_are_a_row_of_zeros_and_ones(write_table):
    expected = [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    of_csv = write_table(
        "label,path", "ant,pictures/0.png", "cow; bee,pictures/1.png", ",pictures/2.png"
    )
    rows = (
        {"path": f"pictures/{n}.png", "label": label}
        for n, label in enumerate([["ant"], ["bee", "cow"], []])
    )
    of_json = write_table(*map(json.dumps, rows), name="photos.jsonl")
    for path in (of_csv, of_json):
        source = open_source(path, "train")
        assert source.class_names == ("ant", "bee", "cow")
        assert source.labels.dtype == "float32"
        np.testing.assert_array_equal(source.labels, expected)
        ((images, labels),) = ImageBatches(source, (5, 7), 3, labelled=True)
        np.testing.assert_array_equal(labels, expected)
        with pytest.raises(ImageSourceError, match="may have several labels, so 1 a class cannot"):
            source.labels_per_class(1, seed=0)


def test_labels_that_are_whole_numbers_are_sorted_as_numbers(write_table):
    lines = [f'{{"path": "pictures/{n}.png", "label": {n}}}' for n in range(12)]
    source = open_source(write_table(*lines, name="photos.jsonl"), "train")
    assert source.class_names == tuple(str(n) for n in range(12))


def test_without_a_split_column_every_fifth_image_of_a_class_is_test(write_table):
    lines = [
        f"pictures/{n}.png,{'cat' if n < 6 else 'dog'}"
        for n in (7, 3, 0, 1, 2, 4, 5, 6, 8, 9, 10, 11)
    ]
    path = write_table("path,label", *lines)
    train, test = open_source(path, "train"), open_source(path, "test")
    # Sorted as text, "10.png" and "11.png" come before "6.png".
    assert numbers_in(test) == [4, 8]
    assert sorted(numbers_in(train) + numbers_in(test)) == [*range(12)]
    with pytest.raises(NoSuchSplitError, match="no column `split`, and so no validation split"):
        open_source(path, "validation")


def test_validation_rows_that_are_the_test_split_are_refused_as_such(write_table):
    lines = ["pictures/0.png,cat,train", "pictures/1.png,cat,val"]
    path = write_table("path,label,split", *lines)
    assert numbers_in(open_source(path, "test")) == [1]
    with pytest.raises(NoSuchSplitError, match="'validation', and validation is its test split"):
        open_source(path, "validation")


def test_a_table_without_labels_is_for_pretraining(write_table):
    path = write_table("path", *(f"pictures/{n}.png" for n in range(3)))
    source = open_source(path, "train")
    assert source.labels is None and len(source) == 3
    with pytest.raises(ImageSourceError, match="too few images for a test split"):
        open_source(path, "test")


def test_bad_rows_are_all_named_with_their_lines(write_table):
    path = write_table(
        "path,label,split",
        "pictures/0.png,cat,train",
        "pictures/nowhere.png,cat,train",
        "pictures/1.png,,train",
        "pictures/0.png,dog,train",
        "pictures/2.png,cat",
        ",cat,train",
        "pictures/3.png,cat,later",
    )
    with pytest.raises(ImageSourceError) as caught:
        open_source(path, "train")
    message = str(caught.value)
    assert message.startswith(f"{path}: 6 of 7 rows are bad: ")
    for problem in (
        "line 3 names 'pictures/nowhere.png', which does not exist",
        "line 4 has no label",
        "line 5 lists 'pictures/0.png' again, as line 2 does",
        "line 6 has not as many values as the 3 columns",
        "line 7 has no path",
        "line 8 has the split 'later', which is none of train, validation, test",
    ):
        assert problem in message
    assert "\n" not in message


def test_bad_lines_of_json_are_named(write_table):
    good = '{"path": "pictures/0.png", "label": "cat"}'
    lines = [good, "", "{", "[1]", '{"path": 3, "label": "cat"}']
    lines.append('{"path": "pictures/1.png", "label": {"a": 1}}')
    path = write_table(*lines, name="photos.jsonl")
    with pytest.raises(ImageSourceError, match="4 of 5 rows are bad: line 3 is no JSON") as caught:
        open_source(path, "train")
    for problem in ("line 4 is no JSON object", "line 5 has no path", "line 6 has the label {'a'"):
        assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "name", "problem"),
    [
        (
            ["file,label", "a.png,cat"],
            "a.csv",
            "no column `path`: its first line is 'file', 'label'",
        ),
        (["path,label"], "a.csv", "lists no images"),
        (["path,label", "pictures/0.png,cat"], "a.txt", "is a file. Name the folder .* or a table"),
        (
            ["path,label,split", "pictures/0.png,cat,train", "pictures/1.png,cat,"],
            "a.csv",
            "line 3 has the split ''",
        ),
        (
            ["path,label,split", "pictures/0.png,cat,test"],
            "a.csv",
            "has no train split: it has 'test'",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(write_table, lines, name, problem):
    with pytest.raises(ImageSourceError, match=problem) as caught:
        open_source(write_table(*lines, name=name), "train")
    assert isinstance(caught.value, NoSuchSplitError) == ("no train split" in problem)


def test_a_table_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"path,label\n\xff\xfe,cat\n")
    with pytest.raises(ImageSourceError, match="cannot be read as a table .UnicodeDecodeError"):
        open_source(tmp_path / "a.csv", "train")
