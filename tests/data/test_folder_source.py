import errno
import os
import re
import sys

import numpy as np
import pytest

from keras_convnextv2.data import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ImageSourceError,
    ImageSourceWarning,
    NoSuchSplitError,
    open_source,
)

pytestmark = pytest.mark.one_backend


@pytest.fixture
def refused(tmp_path):
    """Asserts that opening is refused in one line, with every one of the given texts."""

    def check(split, *texts, folder=tmp_path):
        with pytest.raises(ImageSourceError) as caught:
            open_source(folder, split)
        message = str(caught.value)
        assert "\n" not in message
        assert isinstance(caught.value, NoSuchSplitError) == (f"has no {split} split" in message)
        for text in texts:
            assert text in message

    return check


def write_classes(write_image, folder, counts):
    """Returns the pixels of all images in the order of the classes, then of the names."""
    paths = [
        folder / name / f"{number:02}.png"
        for name, count in sorted(counts.items())
        for number in range(count)
    ]
    return [write_image(path, seed=seed) for seed, path in enumerate(paths)]


def test_split_folders_with_class_folders(tmp_path, write_image):
    write_classes(write_image, tmp_path / "train", {"cat": 2, "ant": 3})
    pixels = write_classes(write_image, tmp_path / "test", {"cat": 2, "ant": 1})
    assert len(open_source(tmp_path, "train")) == 5
    test = open_source(tmp_path, "test")
    assert test.class_names == ("ant", "cat")
    assert test.labels.dtype == "int32"
    assert test.labels.tolist() == [0, 1, 1]
    assert (test.channels, test.mean, test.std) == (3, IMAGENET_MEAN, IMAGENET_STD)
    assert test.native_size is None
    assert test.description == f"3 images in 2 classes in {tmp_path / 'test'}"
    images = test.read([2, 0], (6, 9))
    np.testing.assert_array_equal(images, np.stack([pixels[2], pixels[0]]))


def test_images_are_read_in_another_size(tmp_path, write_image):
    write_classes(write_image, tmp_path / "train", {"cat": 2})
    images = open_source(tmp_path, "train").read([1, 0, 1], (4, 10))
    assert images.shape == (3, 4, 10, 3)
    assert images.dtype == "uint8"
    np.testing.assert_array_equal(images[0], images[2])
    assert np.any(images[0] != images[1])


@pytest.mark.parametrize("size", [(0, 4), (4, -1)])
def test_image_size_below_one_is_refused(tmp_path, write_image, size):
    write_classes(write_image, tmp_path, {"cat": 5})
    with pytest.raises(ValueError, match=re.escape(f"(H, W) in pixels. Received: {size}")):
        open_source(tmp_path, "train").read([0], size)


@pytest.mark.parametrize(
    "present, chosen",
    [(["val"], "val"), (["validation"], "validation"), (["val", "test"], "test")],
)
def test_test_split_is_validation_where_there_is_no_test(tmp_path, write_image, present, chosen):
    for name in ["train", *present]:
        write_classes(write_image, tmp_path / name, {"cat": 1})
    assert str(open_source(tmp_path, "test").records[0]).startswith(str(tmp_path / chosen / "cat"))


def test_split_folders_are_found_in_any_case(tmp_path, write_image):
    write_classes(write_image, tmp_path / "Train", {"cat": 3})
    write_classes(write_image, tmp_path / "Test", {"cat": 2})
    assert len(open_source(tmp_path, "test")) == 2


def test_test_split_opens_without_a_train_folder(tmp_path, write_image):
    write_classes(write_image, tmp_path / "val", {"cat": 2, "ant": 1})
    assert open_source(tmp_path, "test").class_names == ("ant", "cat")


def test_class_folders_are_searched_to_any_depth(tmp_path, write_image):
    write_image(tmp_path / "train" / "cat" / "a.png")
    write_image(tmp_path / "val" / "cat" / "images" / "b.png")
    write_image(tmp_path / "val" / "cat" / "images" / "more" / "c.png")
    assert len(open_source(tmp_path, "test")) == 2


def test_every_fifth_image_of_a_class_is_test_where_there_are_no_splits(tmp_path, write_image):
    pixels = write_classes(write_image, tmp_path, {"ant": 11, "cat": 4})
    train, test = open_source(tmp_path, "train"), open_source(tmp_path, "test")
    assert test.labels.tolist() == [0, 0]
    np.testing.assert_array_equal(test.read([0, 1], (6, 9)), np.stack([pixels[4], pixels[9]]))
    assert np.bincount(train.labels).tolist() == [9, 4]
    assert not set(train.records) & set(test.records)
    assert "every fifth image of a class is test, this is train" in train.description


def test_loose_images_are_unlabelled_and_all_train(tmp_path, write_image):
    for number in range(6):
        write_image(tmp_path / f"{number}.png")
    source = open_source(tmp_path, "train")
    assert len(source) == 6
    assert source.labels is None
    assert source.class_names == ()
    assert source.description == f"6 images without labels in {tmp_path}"


def test_loose_images_in_a_train_folder_are_unlabelled(tmp_path, write_image):
    write_image(tmp_path / "train" / "a.png")
    write_classes(write_image, tmp_path / "test", {"cat": 2})
    assert open_source(tmp_path, "train").labels is None
    assert open_source(tmp_path, "test").class_names == ("cat",)


def test_images_beside_class_folders_are_left_out_and_counted(tmp_path, write_image):
    write_classes(write_image, tmp_path / "train", {"cat": 2})
    write_image(tmp_path / "train" / "cover.png")
    source = open_source(tmp_path, "train")
    assert len(source) == 2
    assert "besides 1 outside the class folders, not used" in source.description


def test_hidden_files_and_other_suffixes_are_ignored_and_case_is_not(tmp_path, write_image):
    write_image(tmp_path / "cat" / "a.PNG")
    write_image(tmp_path / "cat" / "b.Jpeg")
    write_image(tmp_path / "cat" / ".b.png")
    write_image(tmp_path / ".thumbnails" / "c.png")
    (tmp_path / "cat" / "notes.txt").write_text("x")
    with pytest.warns(ImageSourceWarning, match="1 .txt.* 1 image in folders not meant"):
        source = open_source(tmp_path, "train")
    assert len(source) == 2
    assert source.class_names == ("cat",)


def test_empty_class_folder_stays_a_class(tmp_path, write_image):
    write_classes(write_image, tmp_path / "train", {"ant": 1, "cat": 1})
    write_classes(write_image, tmp_path / "test", {"cat": 2})
    (tmp_path / "test" / "ant").mkdir()
    test = open_source(tmp_path, "test")
    assert test.class_names == ("ant", "cat")
    assert test.labels.tolist() == [1, 1]


def test_missing_folder_is_refused(tmp_path, refused):
    refused("train", "nowhere does not exist. Check the path.", folder=tmp_path / "nowhere")


def test_file_in_place_of_a_folder_is_refused(tmp_path, refused):
    (tmp_path / "a.txt").write_text("x")
    refused("train", "a.txt is a file. Name the folder", folder=tmp_path / "a.txt")


def test_empty_path_is_refused(refused):
    refused("train", "The data folder is ''", folder="")


def test_unknown_split_is_refused(refused):
    refused("dev", "`split` must be 'train', 'validation' or 'test'. Received: 'dev'")


def test_empty_folder_is_refused(tmp_path, refused):
    refused("train", f"{tmp_path} holds no images", ".jpg .jpeg", "found 0 other files")


def test_folder_without_images_is_refused_with_what_is_there(tmp_path, refused):
    for name in ("cat", "ant"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "train" / name / "a.cr2").write_text("x")
    (tmp_path / "train" / "list.csv").write_text("x")
    refused("train", "holds no images", "its 1 folders", "found 3 other files (2 .cr2, 1 .csv)")


def test_folder_that_cannot_be_listed_is_refused(tmp_path, write_image, refused, monkeypatch):
    write_classes(write_image, tmp_path, {"cat": 5})
    list_folder = os.scandir

    def deny(path):
        if os.path.basename(path) == "cat":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", deny)  # root may list anything
    refused("train", f"{tmp_path / 'cat'} cannot be read", "Permission denied", "Check its rights.")


def test_missing_split_is_refused_with_the_folders_there_are(tmp_path, write_image, refused):
    write_classes(write_image, tmp_path / "train", {"cat": 1})
    (tmp_path / "extra").mkdir()
    refused("test", "has no test split", "'extra', 'train'", "named test or testing or validation")
    (tmp_path / "train").rename(tmp_path / "val")
    refused("train", "has no train split", "'extra', 'val'", "named train or training.")


def test_classes_that_differ_are_refused_by_name(tmp_path, write_image, refused):
    write_classes(write_image, tmp_path / "train", {"ant": 1, "cat": 1})
    write_classes(write_image, tmp_path / "test", {"ant": 1, "cow": 1, "dog": 1})
    refused("test", "differ", "Missing: 'cat'; not in train: 'cow', 'dog'.")


def test_long_lists_of_classes_are_cut(tmp_path, write_image, refused):
    write_classes(write_image, tmp_path / "train", {"ant": 1})
    write_classes(write_image, tmp_path / "test", {f"n{number}": 1 for number in range(9)})
    refused("test", "not in train: 'n0', 'n1', 'n2', 'n3', 'n4' and 4 more.")


def test_test_split_of_loose_images_is_refused(tmp_path, write_image, refused):
    write_image(tmp_path / "a.png")
    refused("test", "has no test split: its images are not in class folders")


def test_test_split_of_too_small_classes_is_refused(tmp_path, write_image, refused):
    write_classes(write_image, tmp_path, {"ant": 4, "cat": 3})
    refused("test", "has no test split", "no class has five")


@pytest.mark.parametrize("damage", ["empty", "text", "truncated"])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "gif", "bmp"])
def test_broken_file_is_named_when_it_is_read(tmp_path, write_image, suffix, damage):
    path = tmp_path / "cat" / f"broken.{suffix}"
    write_image(path, (40, 50))
    content = path.read_bytes()
    broken = {"empty": b"", "text": b"<html>not found</html>", "truncated": content[:-400]}
    path.write_bytes(broken[damage])
    source = open_source(tmp_path, "train")
    with pytest.raises(ImageSourceError) as caught:
        source.read([0], (8, 8))
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be read as an image (")
    assert message.endswith("Replace the file or delete it.")
    assert str(caught.value.__cause__) in message


def test_file_that_vanished_is_named(tmp_path, write_image):
    write_image(tmp_path / "cat" / "a.png")
    source = open_source(tmp_path, "train")
    (tmp_path / "cat" / "a.png").unlink()
    with pytest.raises(ImageSourceError, match=r"a\.png cannot .*FileNotFoundError"):
        source.read([0], (8, 8))


def test_missing_pillow_is_not_blamed_on_the_file(tmp_path, write_image, monkeypatch):
    write_image(tmp_path / "cat" / "a.png")
    source = open_source(tmp_path, "train")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImageSourceError, match="cannot be imported .* pip install pillow"):
        source.read([0], (8, 8))
