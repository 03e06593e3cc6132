"""Images that `pack_images` has put into a few large files, in ArrayRecord's format."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from keras_convnextv2.data.array_file import demand_room
from keras_convnextv2.data.file_source import FileSource, damaged
from keras_convnextv2.data.image_source import (
    ImageSourceError,
    NoSuchSplitError,
    count_images,
    name_some,
)
from keras_convnextv2.data.packages import require
from keras_convnextv2.data.pixel_range import PixelRange
from keras_convnextv2.data.regular_file import RegularFile, demand_regular_file
from keras_convnextv2.data.stored_bytes import StoredBytes
from keras_convnextv2.data.tf_example import read_example

INDEX_NAME = "packed_images.json"
VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False)
class ExampleSource(FileSource):
    """Image files in records of the kind `tf_example`: `records` are N places.

    Attributes:
        reader: gives the bytes of a record by its place; threads may share it.
        image_key: str, the feature that holds the file.
        name_key: str, the feature that holds its name; "" for none.
        prefix: str, before the place of an image without a name.
    """

    reader: object = None
    image_key: str = "image"
    name_key: str = ""
    prefix: str = ""

    def stored(self, record):
        name = f"{self.prefix}{record}"
        try:
            example = read_example(self.reader[int(record)], (self.image_key, self.name_key))
            content = example[self.image_key][0]
            if self.name_key:
                name = example[self.name_key][0].decode()
        except Exception as error:  # readers raise anything on damaged bytes
            raise damaged(name, error) from error
        return StoredBytes(name, content)


def open_packed(folder, split):
    """`ExampleSource` of a folder that `pack_images` has written.

    Args:
        folder: `Path`.
        split: "train", "validation" or "test".

    Raises:
        NoSuchSplitError: it was packed without this split.
        ImageSourceError: files that are missing, damaged or of another version, or the package
            array-record is not installed.
    """
    index = _read_index(folder)
    splits = index["splits"]
    if split not in splits:
        raise NoSuchSplitError(
            f"{folder} has no {split} split: it was packed with {name_some(splits)}. Pack it too, "
            "or hold out some of the training images (`source.split(fraction, seed)`)."
        )
    reading = require(
        "array_record.python.array_record_data_source", "array_record", f"{folder} is packed"
    )
    part, class_names = splits[split], tuple(index["class_names"])
    paths = [folder / name for name in part["files"]]
    try:
        for path in paths:
            demand_regular_file(path)
        reader = reading.ArrayRecordDataSource([str(path) for path in paths])
        num_images = len(reader)
        labels = None
        if part["labels"] is not None:
            labels = _read_labels(folder / part["labels"], len(class_names))
    except Exception as error:  # the reader raises what it likes on damaged files
        raise ImageSourceError(
            f"The files of {folder} cannot be read ({type(error).__name__}: {error}). Pack the "
            "images again."
        ) from error
    if num_images != part["num_images"] or (labels is not None and len(labels) != num_images):
        raise ImageSourceError(
            f"{folder} should hold {part['num_images']} images of the {split} split, but holds "
            f"{num_images}. Pack the images again."
        )
    pixel_range = index["pixel_range"]
    return ExampleSource(
        records=np.arange(num_images),
        labels=labels,
        class_names=class_names,
        channels=index["channels"],
        mean=tuple(index["mean"]),
        std=tuple(index["std"]),
        native_size=None,
        description=f"{count_images(num_images, class_names)} packed in {folder} ({split})",
        pixel_range=PixelRange(*pixel_range) if pixel_range else None,
        reader=reader,
        name_key="name",
        prefix=f"{folder}: {split} record ",
    )


def _read_index(folder):
    """What `pack_images` has written into its index, a dict."""
    path = folder / INDEX_NAME
    try:
        demand_regular_file(path)
        index = json.loads(path.read_text("utf-8"))
        version, splits = index["version"], dict(index["splits"])
        if version == VERSION:
            _check_index(index, splits.values())
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ImageSourceError(
            f"{path} cannot be read ({type(error).__name__}: {error}). Pack the images again."
        ) from error
    if version != VERSION:
        raise ImageSourceError(
            f"{folder} was packed by another version of this library (version {version} of the "
            f"format, {VERSION} is read). Pack the images again."
        )
    return index


def _check_index(index, parts):
    """Raises ValueError, or any error of Python's, for what has not been written so."""
    channels, class_names = index["channels"], index["class_names"]
    if type(channels) is not int or not all(isinstance(name, str) for name in class_names):
        raise ValueError("its channels or class names are none")
    mean, std = (np.array(index[name], "float64") for name in ("mean", "std"))
    is_finite = np.isfinite(mean).all() and np.isfinite(std).all()
    if mean.shape != (channels,) or std.shape != (channels,) or not is_finite or std.min() <= 0:
        raise ValueError(f"its mean and std are not those of {channels} channels")
    if index["pixel_range"]:
        PixelRange(*index["pixel_range"])
    for part in parts:
        names = [*part["files"], *([] if part["labels"] is None else [part["labels"]])]
        if not part["files"] or not all(Path(name).name == name for name in names):
            raise ValueError("its files are not beside it")
        if type(part["num_images"]) is not int:
            raise ValueError("its number of images is none")


def _read_labels(path, num_classes):
    """int32 (N,), or float32 (N, num_classes)."""
    with RegularFile(path) as file:
        demand_room(file, path.stat().st_size)
    labels = np.load(path, allow_pickle=False)
    is_of_one = labels.dtype == "int32" and labels.ndim == 1
    is_of_several = labels.dtype == "float32" and labels.shape[1:] == (num_classes,)
    most = num_classes - 1 if is_of_one else 1
    if not (is_of_one or is_of_several) or not ((labels >= 0) & (labels <= most)).all():
        raise ValueError(f"{path} has no labels of {num_classes} classes")
    return labels
