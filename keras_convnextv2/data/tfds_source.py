"""Data sets that TensorFlow Datasets has prepared on disk: without TensorFlow."""

import json

import numpy as np

from keras_convnextv2.data.folder_layout import KINDS, kind_of_split
from keras_convnextv2.data.image_source import (
    ImageSourceError,
    NoSuchSplitError,
    count_images,
    name_some,
)
from keras_convnextv2.data.packages import require
from keras_convnextv2.data.packed_source import ExampleSource
from keras_convnextv2.data.pixel_survey import RGB_PIXELS
from keras_convnextv2.data.tf_example import read_example
from keras_convnextv2.data.tf_records import TfRecords

INFO_NAME, FEATURES_NAME = "dataset_info.json", "features.json"
_FORMATS = ("tfrecord", "array_record")
_UNLABELLED = -1  # of a ClassLabel that is not published, as in the test split of imagenet2012
_ENCODINGS = ("", "png", "jpeg")


def is_tfds(folder):
    """Whether a folder is that of one version of a prepared data set."""
    return (folder / INFO_NAME).is_file() and (folder / FEATURES_NAME).is_file()


def open_tfds(folder, split):
    """`ExampleSource` of a split of a folder such as `tensorflow_datasets/cifar10/3.0.2`.

    It must have one feature that is an image of 8 bits and at most one that is a class; others are
    passed over. The labels are looked up when it is opened, which for files of the format
    array_record reads all of them once. A test split that is published without labels, all of them
    -1, gives way to the validation split.

    Args:
        folder: `Path`, with `dataset_info.json` and `features.json`.
        split: "train", "validation" or "test".

    Raises:
        NoSuchSplitError: no such split.
        ImageSourceError: other features or another format of files, files that are missing or
            damaged, labels that are of no class.
    """
    try:
        info = json.loads((folder / INFO_NAME).read_text("utf-8"))
        image, label, class_names = _features(folder)
        file_format = info.get("fileFormat", "tfrecord")
        if file_format not in _FORMATS:
            raise ImageSourceError(
                f"{folder} has files of the format {file_format!r}, and {' and '.join(_FORMATS)} "
                "are read. Prepare it in one of these."
            )
        found, notes = _split(folder, info, split, label)
        name, reader = found["name"], _open(folder, info, found)
        labels = _labels(reader, label)
        _check_labels(labels, class_names, f"{folder}: {name}")
    except ImageSourceError:
        raise
    except Exception as error:  # whatever damaged files make of it
        raise ImageSourceError(
            f"{folder} cannot be read as a data set of TensorFlow Datasets "
            f"({type(error).__name__}: {error}). Prepare it again."
        ) from error
    return ExampleSource(
        records=np.arange(len(reader)),
        labels=labels,
        class_names=class_names,
        channels=3,
        mean=RGB_PIXELS.mean,
        std=RGB_PIXELS.std,
        native_size=None,
        description=f"{count_images(len(reader), class_names)} of {name} in {folder}",
        notes=notes,
        reader=reader,
        image_key=image,
        prefix=f"{folder}: {name} record ",
    )


def _features(folder):
    """(name of the image, name of the class or None, class names)."""
    features = json.loads((folder / FEATURES_NAME).read_text("utf-8"))["featuresDict"]["features"]
    kinds = {name: what["pythonClassName"].rpartition(".")[2] for name, what in features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    if len(images) != 1 or len(labels) > 1:
        words = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        raise ImageSourceError(
            f"{folder} has the features {words}. One Image is read, and one ClassLabel or none."
        )
    image = features[images[0]].get("image", {})
    dtype, encoding = image.get("dtype", "uint8"), image.get("encodingFormat", "")
    if dtype != "uint8" or encoding not in _ENCODINGS:
        raise ImageSourceError(
            f"{folder} has images of {dtype} in the encoding {encoding or 'none'!r}. Images of "
            "uint8 in PNG or JPEG are read."
        )
    if not labels:
        return images[0], None, ()
    names = folder / f"{labels[0]}.labels.txt"
    if names.is_file():
        return images[0], labels[0], tuple(names.read_text("utf-8").splitlines())
    count = int(features[labels[0]]["classLabel"]["numClasses"])
    return images[0], labels[0], tuple(str(number) for number in range(count))


def _split(folder, info, split, label):
    """(entry of the split in the data set's description, notes)."""
    found = {}
    for entry in info["splits"]:
        found.setdefault(kind_of_split(entry["name"]), entry)
    notes = ()
    has_both = split != "train" and label is not None and {"test", "validation"} <= set(found)
    if has_both and _has_no_labels(folder, info, found["test"], label):
        test, taken = found.pop("test")["name"], found["validation"]["name"]
        if split == "test":
            notes = (f"{folder}: {test} has no labels; {taken} is taken in its place.",)
    kinds = [kind for kind in KINDS[split] if kind in found]
    if not kinds or (split == "validation" and "test" not in found):
        names = name_some(entry["name"] for entry in info["splits"])
        why = f", and {found[kinds[0]]['name']} is its test split" if kinds else ""
        raise NoSuchSplitError(
            f"{folder} has no {split} split: it has {names}{why}. Hold out some of the training "
            "images (`source.split(fraction, seed)`)."
        )
    return found[kinds[0]], notes


def _has_no_labels(folder, info, entry, label):
    """Whether all labels are -1; False too where the files are not there to look at."""
    if not all(path.is_file() for path in _paths(folder, info, entry)):
        return False
    reader = _open(folder, info, entry)
    return all(_label(reader[place], label) == _UNLABELLED for place in range(len(reader)))


def _paths(folder, info, entry):
    """Of the files of a split, in order."""
    count, file_format = len(entry["shardLengths"]), info.get("fileFormat", "tfrecord")
    template = entry.get("filepathTemplate") or "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    return [
        folder / _file_name(template, info["name"], entry["name"], file_format, number, count)
        for number in range(count)
    ]


def _file_name(template, dataset, split, file_format, number, count):
    values = {
        "DATASET": dataset,
        "SPLIT": split,
        "FILEFORMAT": file_format,
        "SHARD_INDEX": f"{number:05d}",
        "NUM_SHARDS": f"{count:05d}",
        "SHARD_X_OF_Y": f"{number:05d}-of-{count:05d}",
    }
    for key, value in values.items():  # `format` would heed more that a template may say
        template = template.replace(f"{{{key}}}", value)
    return template


def _open(folder, info, entry):
    """The records of a split, by their place."""
    paths, length = _paths(folder, info, entry), sum(map(int, entry["shardLengths"]))
    if info.get("fileFormat", "tfrecord") == "tfrecord":
        reader = TfRecords(paths)
    else:
        name = "array_record.python.array_record_data_source"
        reading = require(name, "array_record", f"{folder} has files of the format array_record")
        reader = reading.ArrayRecordDataSource([str(path) for path in paths])
    if len(reader) != length:
        raise ValueError(f"{length} records should be there, and {len(reader)} are")
    return reader


def _labels(reader, label):
    if label is None:
        return None
    return np.array([_label(reader[place], label) for place in range(len(reader))], "int32")


def _label(record, label):
    return read_example(record, (label,))[label][0]


def _check_labels(labels, class_names, place):
    if labels is None or not labels.size:
        return
    if (labels == _UNLABELLED).all():
        raise ImageSourceError(
            f"{place} has no labels: all are {_UNLABELLED}. Use another split, or hold out some of "
            "the training images (`source.split(fraction, seed)`)."
        )
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise ImageSourceError(
            f"{place} has labels from {labels.min()} to {labels.max()} for {len(class_names)} "
            "classes. Prepare it again."
        )
