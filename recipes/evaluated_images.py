"""Which images an evaluation measures: a split of the folder, what a run held out, or all."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
from absl import flags

from . import flag_files, images
from .printable import printable

FLAGS = flags.FLAGS

_SPLITS = ("train", "validation", "test")


def define_flags():
    """--split."""
    flags.DEFINE_enum(
        "split",
        "test",
        ["test", "validation", "train", "all"],
        "Of the images. validation: where the folder has no such split, what the run that "
        "--weights names held out by --validation_fraction. all: the images of all splits that "
        "there are, each once, also those that a run was trained on.",
    )


def open_images(trained_with):
    """The source of --split.

    Args:
        trained_with: optional `PixelRange` of --weights.

    Raises:
        NoSuchSplitError: there is none, nor has a run held images out.
        ValueError: all splits of images that cannot be joined.
    """
    from keras_convnextv2.data import NoSuchSplitError

    if FLAGS.split == "all":
        return all_splits(lambda split: images.open_images(split, trained_with))
    try:
        return images.open_images(FLAGS.split, trained_with)
    except NoSuchSplitError:
        of_run = flag_files.of_run(FLAGS.weights)
        fraction = float(of_run.get("validation_fraction") or 0)
        if FLAGS.split != "validation" or not fraction:
            raise
    return _held_out(trained_with, fraction, of_run)


def _held_out(trained_with, fraction, of_run):
    seed = int(of_run.get("seed") or 0)
    _, source = images.open_images("train", trained_with).split(fraction, seed)
    _say(
        f"validation       as the run of {FLAGS.weights} held it out, --validation_fraction="
        f"{fraction:g} by --seed={seed}"
    )
    read, now = (_folder(name) for name in (of_run.get("data_dir"), FLAGS.data_dir))
    if read != now:
        _say(f"validation       that run read {read}: these may be other images, or trained on")
    return source


def _folder(data_dir):
    return Path(data_dir or images.EMBEDDED_IMAGES).expanduser().resolve()


def all_splits(open_split):
    """One source of the images of all splits.

    Args:
        open_split: function of a split's name that gives its source, or raises `NoSuchSplitError`.

    Raises:
        NoSuchSplitError: there is no split at all.
        ValueError: the images are stored in ways that cannot be joined.
    """
    from keras_convnextv2.data import NoSuchSplitError
    from keras_convnextv2.data.image_source import count_images, name_some
    from keras_convnextv2.data.packed_source import ExampleSource

    found, error = {}, None
    for split in _SPLITS:  # a folder validation that stands in for test comes as test alone
        try:
            found[split] = open_split(split)
        except NoSuchSplitError as missing:
            error = error or missing
    if not found:
        raise error
    first, *others = found.values()
    if not others:
        return first
    shapes = {source.records.shape[1:] for source in found.values()}
    if isinstance(first, ExampleSource) or len(shapes) > 1:
        raise ValueError(
            f"--split=all: {' and '.join(found)} are packed apart or of other sizes, and are not "
            "joined. Measure one after the other."
        )
    labels = None
    if all(source.labels is not None for source in found.values()):
        for split, source in found.items():
            if source.class_names != first.class_names:
                raise ValueError(
                    f"--split=all: the splits have other classes, {next(iter(found))} "
                    f"{name_some(first.class_names)} and {split} {name_some(source.class_names)}. "
                    "Give them the same, or measure one after the other."
                )
        labels = np.concatenate([source.labels for source in found.values()])
    records = np.concatenate([source.records for source in found.values()])
    names = first.class_names if labels is not None else ()
    parts = "; ".join(source.description for source in found.values())
    return dataclasses.replace(
        first,
        records=records,
        labels=labels,
        class_names=names,
        description=f"{count_images(len(records), names)}: {parts}",
    )


def _say(remark):
    print(printable(remark), file=sys.stderr)
