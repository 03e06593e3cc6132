"""Images in `train.npz` and `test.npz`."""

import zipfile

import numpy as np

from keras_convnextv2.data.array_file import demand_room
from keras_convnextv2.data.decoding import frame_array
from keras_convnextv2.data.image_source import (
    ImageSource,
    ImageSourceError,
    NoSuchSplitError,
    count_images,
    name_some,
)

CONTENTS = (
    "`images` uint8 (N, H, W, C), `mean` and `std` float (C,) for images in 0..1, and for "
    "labelled images `labels` integer (N,) and `class_names` strings (num_classes,)"
)
# key: (kinds of dtype, what to call them, rank)
_ARRAYS = {
    "images": ("u", "uint8", 4),
    "mean": ("f", "float", 1),
    "std": ("f", "float", 1),
    "labels": ("iu", "integer", 1),
    "class_names": ("U", "strings", 1),
}
_MOST_INFLATED = 1032  # times as large as in the file, by deflate
_SAME_IN_BOTH = ("class_names", "mean", "std")


class ArraySource(ImageSource):
    """Images in memory: `records` are uint8 (N, H, W, C)."""

    def _read_one(self, record, framing, rng):
        return frame_array(record, framing, rng)


def open_npz(folder, split):
    """`ArraySource` of the file `<split>.npz` in `folder`, which holds `CONTENTS`.

    Raises:
        NoSuchSplitError: no such file.
        ImageSourceError: a damaged one, or one with other contents.
    """
    path = folder / f"{split}.npz"
    if not path.is_file():
        raise NoSuchSplitError(
            f"{folder} has no {split} split: it has npz files, but no {path.name}. Add it."
        )
    arrays = _load(path, _ARRAYS)
    _check(path, arrays)
    train_path = folder / "train.npz"
    if split != "train" and train_path.is_file():
        _check_same(path, arrays, train_path)
    images = arrays["images"]
    class_names = tuple(arrays["class_names"].tolist()) if "labels" in arrays else ()
    return ArraySource(
        records=images,
        labels=arrays["labels"].astype("int32") if "labels" in arrays else None,
        class_names=class_names,
        channels=images.shape[-1],
        mean=tuple(arrays["mean"].tolist()),
        std=tuple(arrays["std"].tolist()),
        native_size=images.shape[1:3],
        description=f"{count_images(len(images), class_names)} in {path}",
    )


def _load(path, keys):
    try:
        _demand_room(path, keys)
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in keys if key in archive}
    except Exception as error:  # zipfile, zlib and numpy raise anything on damaged bytes
        raise ImageSourceError(
            f"{path} cannot be read as an npz file without pickled objects "
            f"({type(error).__name__}: {error}). Write it with numpy.savez_compressed."
        ) from error


def _demand_room(path, keys):
    """Raises where one of the arrays says that it is larger than what is stored of it."""
    file_bytes = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.filename.removesuffix(".npy") not in keys:
                continue
            with archive.open(entry) as file:
                demand_room(file, min(entry.file_size, _MOST_INFLATED * file_bytes))


def _check(path, arrays):
    def demand(condition, problem):
        if not condition:
            raise ImageSourceError(f"{path}: {problem}. Expected: {CONTENTS}.")

    missing = [key for key in ("images", "mean", "std") if key not in arrays]
    demand(not missing, f"these keys are missing: {', '.join(missing)}")
    demand(
        ("labels" in arrays) == ("class_names" in arrays),
        "of `labels` and `class_names` there is only one",
    )
    for key, array in arrays.items():
        kinds, dtype, rank = _ARRAYS[key]
        demand(isinstance(array, np.ndarray), f"`{key}` is not an array")
        demand(
            array.dtype.kind in kinds and array.ndim == rank and array.size > 0,
            f"`{key}` is {array.dtype} of shape {array.shape}, not {dtype} of rank {rank}",
        )
    images, mean, std = arrays["images"], arrays["mean"], arrays["std"]
    demand(images.dtype == "uint8", f"`images` is {images.dtype}, not uint8")
    channels = images.shape[-1:]
    demand(
        mean.shape == channels and std.shape == channels,
        f"{len(mean)} values of `mean` and {len(std)} of `std` for {channels[0]} channels",
    )
    demand(np.isfinite(mean).all(), f"`mean` is {name_some(mean)}")
    demand(np.isfinite(std).all() and (std > 0).all(), f"`std` is {name_some(std)}")
    if "labels" in arrays:
        labels, num_classes = arrays["labels"], len(arrays["class_names"])
        demand(len(labels) == len(images), f"{len(labels)} labels for {len(images)} images")
        demand(
            labels.min() >= 0 and labels.max() < num_classes,
            f"labels from {labels.min()} to {labels.max()} for {num_classes} class names",
        )


def _check_same(path, arrays, train_path):
    """Refuses a test file whose classes or normalisation are not those of its train file."""
    train = _load(train_path, _SAME_IN_BOTH)
    for key in _SAME_IN_BOTH:
        if key in arrays and key in train and not np.array_equal(arrays[key], train[key]):
            raise ImageSourceError(
                f"{path} and {train_path} differ in `{key}`: {name_some(arrays[key])} against "
                f"{name_some(train[key])}. Write the same into both files."
            )
