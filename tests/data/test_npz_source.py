import numpy as np
import pytest
from PIL import Image

from keras_convnextv2.data import ImageSourceError, NoSuchSplitError, open_source

pytestmark = pytest.mark.one_backend


def test_npz_holds_images_labels_and_their_normalisation(tmp_path, write_npz):
    write_npz(tmp_path, "train", seed=1)
    arrays = write_npz(tmp_path, "test", count=5)
    source = open_source(tmp_path, "test")
    assert len(source) == 5
    assert source.labels.dtype == "int32"
    assert source.labels.tolist() == [0, 1, 0, 1, 0]
    assert source.class_names == ("bag", "boot")
    assert source.channels == 2
    assert (source.mean, source.std) == ((0.25, 0.5), (0.125, 0.25))
    assert source.native_size == (5, 7)
    assert source.description == f"5 images in 2 classes in {tmp_path / 'test.npz'}"
    np.testing.assert_array_equal(source.read([3, 0], (5, 7)), arrays["images"][[3, 0]])


def test_npz_images_are_resized_like_files(tmp_path, write_npz):
    arrays = write_npz(tmp_path, "train")
    images = open_source(tmp_path, "train").read([6, 1], (10, 14))
    grey = Image.fromarray(arrays["images"][1, :, :, 1])
    expected = np.asarray(grey.resize((14, 10), Image.Resampling.BICUBIC))
    assert images.shape == (2, 10, 14, 2)
    np.testing.assert_array_equal(images[1, :, :, 1], expected)


def test_npz_without_labels_is_unlabelled(tmp_path, write_npz):
    write_npz(tmp_path, "train", labels=None, class_names=None)
    source = open_source(tmp_path, "train")
    assert source.labels is None
    assert source.class_names == ()
    assert "8 images without labels" in source.description


def test_test_npz_opens_without_train_npz(tmp_path, write_npz):
    write_npz(tmp_path, "test")
    assert len(open_source(tmp_path, "test")) == 8


def refused(folder, split="train"):
    """The error of opening, which is one line."""
    with pytest.raises(ImageSourceError) as caught:
        open_source(folder, split)
    assert "\n" not in str(caught.value)
    is_absent = f"has no {split} split" in str(caught.value)
    assert isinstance(caught.value, NoSuchSplitError) == is_absent
    return str(caught.value)


def test_missing_split_is_refused(tmp_path, write_npz):
    write_npz(tmp_path, "train")
    assert "has no test split: it has npz files, but no test.npz" in refused(tmp_path, "test")


@pytest.mark.parametrize(
    "key, other",
    [("class_names", ["boot", "bag"]), ("mean", [0.5, 0.5]), ("std", [1.0, 1.0])],
)
def test_test_npz_that_differs_from_train_is_refused(tmp_path, write_npz, key, other):
    arrays = write_npz(tmp_path, "train")
    write_npz(tmp_path, "test", **{key: np.array(other)})
    message = refused(tmp_path, "test")
    assert f"differ in `{key}`: {other[0]!r}, {other[1]!r} against" in message
    assert repr(arrays[key][0].item()) in message


IMAGES = np.zeros((8, 5, 7, 2), "uint8")


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"images": None, "std": None}, "these keys are missing: images, std"),
        ({"labels": None}, "of `labels` and `class_names` there is only one"),
        ({"class_names": None}, "of `labels` and `class_names` there is only one"),
        ({"images": IMAGES / 255}, "`images` is float64 of shape (8, 5, 7, 2), not uint8 of rank"),
        ({"images": IMAGES.astype("uint16")}, "`images` is uint16, not uint8"),
        ({"images": IMAGES[..., 0]}, "`images` is uint8 of shape (8, 5, 7), not uint8 of rank 4"),
        ({"images": IMAGES[:0]}, "`images` is uint8 of shape (0, 5, 7, 2)"),
        ({"images": IMAGES[..., :1]}, "2 values of `mean` and 2 of `std` for 1 channels"),
        ({"mean": np.float32(0.5)}, "`mean` is float32 of shape (), not float of rank 1"),
        ({"mean": np.array([0.1, np.nan])}, "`mean` is 0.1, nan"),
        ({"std": np.array([0.5, 0.0])}, "`std` is 0.5, 0.0"),
        ({"labels": np.zeros(7, "int64")}, "7 labels for 8 images"),
        ({"labels": np.zeros(8)}, "`labels` is float64 of shape (8,), not integer of rank 1"),
        ({"labels": np.arange(8)}, "labels from 0 to 7 for 2 class names"),
        ({"labels": np.arange(8) - 7}, "labels from -7 to 0 for 2 class names"),
        ({"class_names": np.arange(2)}, "`class_names` is int64 of shape (2,), not strings"),
    ],
)
def test_npz_with_other_contents_is_refused(tmp_path, write_npz, changes, problem):
    write_npz(tmp_path, "train", **changes)
    message = refused(tmp_path)
    assert f"train.npz: {problem}" in message
    assert "Expected: `images` uint8 (N, H, W, C)" in message


def test_pickled_objects_are_refused(tmp_path, write_npz):
    write_npz(tmp_path, "train", class_names=np.array(["bag", None], dtype=object))
    message = refused(tmp_path)
    assert "train.npz cannot be read as an npz file without pickled objects" in message
    assert "allow_pickle=False" in message


@pytest.mark.parametrize("damage", ["empty", "text", "npy", "truncated", "flipped"])
def test_damaged_npz_is_refused(tmp_path, write_npz, damage):
    path = tmp_path / "train.npz"
    write_npz(tmp_path, "train")
    content = bytearray(path.read_bytes())
    if damage == "npy":
        with path.open("wb") as file:
            np.save(file, IMAGES)
    else:
        content[len(content) // 3] ^= 255
        broken = {"empty": b"", "text": b"no zip", "truncated": content[:-80], "flipped": content}
        path.write_bytes(broken[damage])
    assert "cannot be read as an npz file" in refused(tmp_path)
