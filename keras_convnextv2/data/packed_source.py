"""Images that `pack_images` has put into a few large files, in ArrayRecord's format."""

import dataclasses
import json

import numpy as np

from keras_convnextv2.data.file_source import FileSource, damaged
from keras_convnextv2.data.image_source import (
    ImageSourceError,
    NoSuchSplitError,
    count_images,
    name_some,
)
from keras_convnextv2.data.packages import require
from keras_convnextv2.data.pixel_range import PixelRange
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
        ImageSourceError: files that are missing or of another version, or the
            package array-record is not installed.
    """
    try:
        index = json.loads((folder / INDEX_NAME).read_text("utf-8"))
        version, splits = index["version"], dict(index["splits"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImageSourceError(
            f"{folder / INDEX_NAME} cannot be read ({type(error).__name__}: {error}). Pack the "
            "images again."
        ) from error
    if version != VERSION:
        raise ImageSourceError(
            f"{folder} was packed by another version of this library (version {version} of the "
            f"format, {VERSION} is read). Pack the images again."
        )
    if split not in splits:
        raise NoSuchSplitError(
            f"{folder} has no {split} split: it was packed with {name_some(splits)}. Pack it too, "
            "or hold out some of the training images (`source.split(fraction, seed)`)."
        )
    reading = require(
        "array_record.python.array_record_data_source", "array_record", f"{folder} is packed"
    )
    paths = [folder / name for name in splits[split]["files"]]
    try:
        reader = reading.ArrayRecordDataSource([str(path) for path in paths])
        num_images = len(reader)
        labels = None
        if splits[split]["labels"]:
            labels = np.load(folder / splits[split]["labels"], allow_pickle=False)
    except Exception as error:  # the reader raises what it likes on damaged files
        raise ImageSourceError(
            f"The files of {folder} cannot be read ({type(error).__name__}: {error}). Pack the "
            "images again."
        ) from error
    if num_images != splits[split]["num_images"] or (
        labels is not None and len(labels) != num_images
    ):
        raise ImageSourceError(
            f"{folder} should hold {splits[split]['num_images']} images of the {split} split, but "
            f"holds {num_images}. Pack the images again."
        )
    class_names = tuple(index["class_names"])
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
