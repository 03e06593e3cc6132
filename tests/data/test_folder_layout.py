"""Folders as people have them: read right, or refused with what would be right."""

import os
import warnings

import pytest

from keras_convnextv2.data import ImageSourceError, ImageSourceWarning, open_source
from keras_convnextv2.data.folder_layout import kind_of_split

pytestmark = pytest.mark.one_backend


@pytest.fixture
def make(tmp_path, write_image):
    """Makes images by their paths below `tmp_path`; a folder's path ends in "/" and stays empty."""

    def write(*names):
        for seed, name in enumerate(names):
            path = tmp_path / name
            if name.endswith("/"):
                path.mkdir(parents=True)
            elif path.suffix in (".png", ".jpg", ".jfif", ".jpe", ".avif"):
                kind = {".jfif": "JPEG", ".jpe": "JPEG"}.get(path.suffix)
                write_image(path, seed=seed, **({"format": kind} if kind else {}))
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("no image")
        return tmp_path

    return write


def images_of(*folders, count=5):
    return [f"{folder}/{number}.png" for folder in folders for number in range(count)]


def notes_of(folder, split="train"):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        source = open_source(folder, split)
    assert [str(warning.message) for warning in caught] == list(source.notes)
    assert all(warning.category is ImageSourceWarning for warning in caught)
    return source.notes


def refused(folder, split, *texts):
    with pytest.raises(ImageSourceError) as caught:
        open_source(folder, split)
    message = str(caught.value)
    assert "\n" not in message
    for text in texts:
        assert text in message


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Testing"),
        ("TRAIN", "VALID"),
        ("train", "eval"),
        ("Train", "Evaluation"),
        ("training_set", "test_set"),
        ("train2017", "val2017"),
        ("train-images", "Test Images"),
    ],
)
def test_names_of_splits(make, train, test):
    folder = make(*images_of(f"{train}/ant", f"{train}/cat"), f"{test}/ant/a.png", f"{test}/cat/")
    for split, name, labels in (("train", train, [0] * 5 + [1] * 5), ("test", test, [0])):
        source = open_source(folder, split)
        assert source.class_names == ("ant", "cat")
        assert source.labels.tolist() == labels
        assert source.description.endswith(str(folder / name))
        assert source.notes == ()


@pytest.mark.parametrize("name", ["trainer", "contest", "value", "test1", "retrain", "data", ""])
def test_names_of_classes_that_only_resemble_a_splits(name):
    assert kind_of_split(name) is None


@pytest.mark.parametrize("depth", ["archive", "archive/PetImages", "a/b/c"])
def test_data_set_that_lies_deeper_is_found(make, depth):
    folder = make(*images_of(f"{depth}/Cat", f"{depth}/Dog"), "archive/readme.txt")
    source = open_source(folder, "train")
    assert source.class_names == ("Cat", "Dog")
    assert str(folder / depth) in source.description
    assert open_source(folder, "test").labels.tolist() == [0, 1]


def test_splits_that_lie_deeper_are_found(make):
    folder = make("archive/train/cat/a.png", "archive/train/dog/a.png", "archive/test/cat/b.png")
    assert open_source(folder, "train").class_names == ("cat", "dog")


def test_classes_that_lie_deeper_in_their_split_are_found(make):
    names = [f"{split}/{split}/{name}/a.png" for split in ("train", "val") for name in "ab"]
    folder = make(*names)
    assert open_source(folder, "train").class_names == ("a", "b")
    assert open_source(folder, "test").class_names == ("a", "b")


def test_folders_in_the_only_class_are_the_classes(make):
    assert open_source(make("cats/tabby/a.png", "cats/manx/b.png"), "train").class_names == (
        "manx",
        "tabby",
    )


@pytest.mark.parametrize("name", ["images", "JPEGImages", "photos", "data/img"])
def test_a_folder_named_for_images_is_no_class(make, name):
    folder = make(*images_of(name), "labels.csv")
    source = open_source(folder, "train")
    assert source.labels is None and len(source) == 5
    assert str(folder / name) in source.description


@pytest.mark.parametrize("place", ["labels.csv", "images/labels.csv"])
def test_a_table_of_labels_is_said_not_to_be_read(make, place):
    notes = notes_of(make(*images_of("images"), place))
    assert any("tables of them are not read" in note for note in notes)


@pytest.mark.parametrize("other", ["masks", "annotations", "image"])
def test_a_folder_named_for_images_beside_others_is_refused(make, other):
    folder = make(*images_of("images", other))
    path = folder / min("images", other, key=lambda name: (name != "image", name != "images"))
    refused(folder, "train", "hardly a class", repr(path.name), f"Name {path}")


def test_folders_without_images_are_no_classes(make):
    folder = make(*images_of("cat", "dog"), "labels/1.txt", "labels/2.txt")
    source = open_source(folder, "train")
    assert source.class_names == ("cat", "dog")
    assert any("are no classes: 'labels'" in note for note in source.notes)


@pytest.mark.parametrize("junk", ["__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", ".thumbnails"])
@pytest.mark.parametrize("place", ["", "cat/", "dog/deeper/"])
def test_folders_of_systems_and_hidden_ones_are_left_out_and_said(make, junk, place):
    folder = make(*images_of("cat", "dog"), f"{place}{junk}/._1.png", f"{place}{junk}/deep/a.jpg")
    source = open_source(folder, "train")
    assert source.class_names == ("cat", "dog") and len(source) == 8
    (note,) = source.notes
    assert f"passed over 2 images in folders not meant ('{place}{junk}')" in note


def test_files_passed_over_are_counted_by_ending_in_one_line(make):
    others = [f"cat/{number}.txt" for number in range(3)]
    folder = make(*images_of("cat", "dog"), *others, "dog/deeper/a.MP4", "a.csv", "README")
    (note,) = notes_of(folder)
    assert note.startswith(f"{folder}: passed over 6 files of other kinds (3 .txt, ")
    for text in ("1 .mp4", "1 .csv", "1 without ending"):
        assert text in note


def test_jpeg_and_avif_by_all_their_endings_are_images(make):
    folder = make("cat/a.jfif", "cat/b.jpe", "cat/c.JPG".lower(), "cat/d.avif", "dog/a.png")
    source = open_source(folder, "train")
    assert len(source) == 5 and source.notes == ()
    assert source.read(range(5), (6, 9)).shape == (5, 6, 9, 3)


def test_a_flat_test_folder_gives_way_to_labelled_validation(make):
    folder = make(
        "train/cat/a.png", "train/dog/a.png", "val/cat/b.png", "val/dog/b.png", "test/a.png"
    )
    source = open_source(folder, "test")
    assert source.labels.tolist() == [0, 1]
    assert f"{folder / 'test'} has no class folders" in source.notes[0]
    assert f"{folder / 'val'} is taken in its place" in source.notes[0]


def test_a_flat_test_folder_without_another_is_unlabelled_and_said(make):
    folder = make("train/cat/a.png", "train/dog/a.png", "test/a.png")
    assert open_source(folder, "test").labels is None
    assert "has no class folders, and" in notes_of(folder, "test")[0]


def test_an_empty_test_folder_gives_way_to_validation(make):
    folder = make("train/cat/a.png", "val/cat/b.png", "test/")
    assert open_source(folder, "test").labels.tolist() == [0]


@pytest.mark.parametrize("names", [("train", "Training"), ("val", "valid"), ("Test", "testing")])
def test_two_folders_of_one_split_are_refused(make, names):
    folder = make(*(f"{name}/cat/a.png" for name in ("train", *names)))
    refused(folder, "test", "more than one", repr(names[0]), repr(names[1]), "folder train")


def test_a_class_named_train_is_refused(make):
    refused(make(*images_of("bus", "car", "train")), "train", "Is 'train' a class?", "'bus', 'car'")


def test_folders_that_look_like_splits_are_refused(make):
    folder = make("seg_train/cat/a.png", "seg_test/cat/a.png")
    refused(folder, "train", "'seg_train', 'seg_test'", "look like splits", "train and test")


def test_splits_inside_of_classes_are_refused(make):
    folder = make(
        *(f"{name}/{split}/a.png" for name in ("cat", "dog") for split in ("train", "test"))
    )
    expected = os.path.join("train", "cat")
    refused(folder, "train", "splits inside of its class folders", f"Expected {expected}")


def test_folders_beside_the_splits_are_said(make):
    folder = make("train/cat/a.png", "test/cat/a.png", "unlabelled/a.png")
    assert "folders beside the splits are not used: 'unlabelled'" in notes_of(folder)[0]


def test_a_split_named_as_the_data_folder_is_said(make):
    folder = make(*images_of("train/cat", "train/dog"), "test/cat/a.png")
    (note,) = notes_of(folder / "train")
    assert "beside it is 'test'" in note and note.endswith(f"name {folder}.")
    assert notes_of(folder) == ()


def test_links_to_folders_are_followed_but_not_to_those_above(make, tmp_path):
    folder = make(*images_of("data/cat"), "elsewhere/1.png")
    (folder / "data" / "cat" / "more").symlink_to(folder / "elsewhere")
    (folder / "data" / "cat" / "round").symlink_to(folder / "data")
    (folder / "data" / "dog").symlink_to(folder / "elsewhere")
    source = open_source(folder / "data", "train")
    assert source.class_names == ("cat", "dog")
    assert source.labels.tolist() == [0] * 5 + [1]  # of six every fifth is for testing
    linked = [os.path.join("cat", "more", "1.png"), os.path.join("dog", "1.png")]
    assert [os.path.relpath(path, folder / "data") for path in source.records[4:]] == linked


def test_images_of_other_formats_alone_are_refused_with_their_endings(make):
    refused(make("cat/a.cr2", "cat/b.cr2", "cat/c.txt"), "train", "no images", "(2 .cr2, 1 .txt)")
