"""Packs the files of image sources into a few large ones, byte by byte as they are stored."""

import json
import os
from pathlib import Path

import numpy as np

from keras_convnextv2.data.file_source import FileSource
from keras_convnextv2.data.image_source import ImageSourceError
from keras_convnextv2.data.packages import require
from keras_convnextv2.data.packed_source import INDEX_NAME, VERSION
from keras_convnextv2.data.stored_bytes import open_bytes
from keras_convnextv2.data.tf_example import write_example
from keras_convnextv2.whole_files import whole_folder


def pack_images(sources, folder, *, megabytes=256.0, progress=None):
    """Writes a folder that `open_source` reads, of files in ArrayRecord's format.

    A disk and a file server read a few large files faster than a million small ones. Each record is
    a `tf.train.Example` with `image`, the bytes of the file as they are; `name`, its path below the
    folder that all are in; and `label` where there are labels. Files are decoded only when they are
    read. The index is written last, so that a folder that was not finished is not taken for one.

    Args:
        sources: {"train", "validation" or "test": `ImageSource` of files}, of the same classes.
        folder: path of a new or empty folder.
        megabytes: float, million bytes of a file, about.
        progress: optional function of (split, images done, images in all), called after each.

    Raises:
        ImageSourceError: the folder is not empty, sources of other kinds or that differ, a file
            that cannot be opened, or the package array-record is not installed.

    Examples:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from keras_convnextv2.data import open_source, pack_images
        >>> for name in ("cap", "shoe"):
        ...     Path("wardrobe", name).mkdir(parents=True)
        ...     for number in range(5):
        ...         Image.new("RGB", (40, 30)).save(f"wardrobe/{name}/{number}.png")
        >>> pack_images({"train": open_source("wardrobe", "train")}, "packed")
        >>> packed = open_source("packed", "train")
        >>> len(packed), packed.class_names
        (8, ('cap', 'shoe'))
    """
    first, folder = next(iter(sources.values())), Path(folder)
    for source in sources.values():
        if not isinstance(source, FileSource):
            raise ImageSourceError(f"Only image files are packed, not {source.description}.")
        same = [(one.class_names, one.channels, one.mean, one.std) for one in (first, source)]
        if same[0] != same[1] or (source.labels is None) != (first.labels is None):
            raise ImageSourceError(
                f"The splits differ in their classes, labels or channels: {first.description}; "
                f"{source.description}. Pack splits of one data set."
            )
    if folder.exists() and any(folder.iterdir()):
        raise ImageSourceError(f"{folder} is not empty, and nothing is overwritten. Name another.")
    module = require(
        "array_record.python.array_record_module", "array_record", "Packing writes a format"
    )
    if folder.exists():
        folder.rmdir()
    with whole_folder(folder) as unfinished:
        writer = module.ArrayRecordWriter
        splits = {
            split: _write_split(writer, source, unfinished, split, megabytes, progress)
            for split, source in sources.items()
        }
        index = {
            "version": VERSION,
            "class_names": first.class_names,
            "channels": first.channels,
            "mean": first.mean,
            "std": first.std,
            "pixel_range": first.pixel_range and first.pixel_range.values,
            "splits": splits,
        }
        (unfinished / INDEX_NAME).write_text(json.dumps(index, indent=1), "utf-8")


def _write_split(open_writer, source, folder, split, megabytes, progress):
    """The split's part of the index."""
    above = _common_folder(source)
    files, writer, num_bytes = [], None, 0
    for place, record in enumerate(source.records):
        if writer is None or num_bytes > 1e6 * megabytes:
            if writer is not None:
                writer.close()
            files.append(f"{split}-{len(files):05d}.array_record")
            # One record a group: records are read one by one, in any order.
            writer, num_bytes = open_writer(str(folder / files[-1]), "group_size:1"), 0
        content = _content(source, record)
        features = {"image": [content], "name": [_name(source, record, above).encode()]}
        if source.labels is not None:
            label = source.labels[place]
            features["label"] = np.flatnonzero(label).tolist() if np.ndim(label) else [int(label)]
        writer.write(write_example(features))
        num_bytes += len(content)
        if progress is not None:
            progress(split, place + 1, len(source))
    writer.close()
    labels = None
    if source.labels is not None:
        labels = f"{split}.labels.npy"
        np.save(folder / labels, source.labels, allow_pickle=False)
    return {"files": files, "labels": labels, "num_images": len(source)}


def _content(source, record):
    try:
        with open_bytes(source.stored(record)) as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise ImageSourceError(
            f"{record} cannot be opened ({error}). Replace the file or delete it."
        ) from error


def _common_folder(source):
    paths = {os.path.dirname(str(source.stored(record))) for record in source.records}
    return os.path.commonpath(paths) if len(paths) > 1 else ""


def _name(source, record, above):
    name = str(source.stored(record))
    return os.path.relpath(name, above) if above else os.path.basename(name)
