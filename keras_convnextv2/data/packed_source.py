"""Images that `pack_images` has put into a few large files, in ArrayRecord's format."""

import dataclasses
import json

import numpy as np

from keras_convnextv2.data.file_source import FileSource
from keras_convnextv2.data.image_source import ImageSourceError, count_images, name_some
from keras_convnextv2.data.packages import require
from keras_convnextv2.data.pixel_range import PixelRange
from keras_convnextv2.data.stored_bytes import StoredBytes
from keras_convnextv2.data.tf_example import read_example

INDEX_NAME = "packed_images.json"
VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False)
class PackedSource(FileSource):
    """Images in ArrayRecord files: `records` are N places in all files together.

    Attributes:
        reader: gives the bytes of a record by its place; threads may share it.
    """

    reader: object = None

    def stored(self, record):
        example = read_example(self.reader[int(record)])
        return StoredBytes(example["name"][0].decode(), example["image"][0])


def open_packed(folder, split):
    """`PackedSource` of a folder that `pack_images` has written.

    Args:
        folder: `Path`.
        split: "train", "validation" or "test".

    Raises:
        ImageSourceError: no such split, files that are missing or of another version, or the
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
        raise ImageSourceError(
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
    return PackedSource(
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
    )
