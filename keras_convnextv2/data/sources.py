"""Which kind of source a folder of images is."""

import os
import warnings
from pathlib import Path

from keras_convnextv2.data.folder_layout import KINDS
from keras_convnextv2.data.folder_source import open_folder
from keras_convnextv2.data.image_source import (
    ImageSource,
    ImageSourceError,
    ImageSourceWarning,
    NoSuchSplitError,
)
from keras_convnextv2.data.npz_source import open_npz
from keras_convnextv2.data.packed_source import INDEX_NAME, open_packed
from keras_convnextv2.data.pixel_range import PixelRange
from keras_convnextv2.data.table_source import TABLE_ENDINGS, open_table
from keras_convnextv2.data.tfds_source import is_tfds, open_tfds

__all__ = [
    "ImageSource",
    "ImageSourceError",
    "ImageSourceWarning",
    "NoSuchSplitError",
    "PixelRange",
    "open_source",
]


def open_source(data_dir, split, pixel_range=None):
    """Opens one split of a folder of images.

    The folder holds one of:
    - `train.npz` and `test.npz`, with the keys that `npz_source.CONTENTS` lists;
    - what `pack_images` has written, or a version of a data set that TensorFlow Datasets has
      prepared, such as `tensorflow_datasets/cifar10/3.0.2`;
    - `train/<class>/*`, and for "test" `test` or, where there is none with class folders,
      `validation`; `training`, `testing`, `valid`, `val` and `eval` are the same, in any case
      and with a tail such as "_set" or "2017";
    - `<class>/*`: every fifth image of a class, sorted by path, is test, the others are train;
    - a validation split apart, in `validation` beside `test`, or `validation.npz`;
    - images outside class folders, or `train` with such: unlabelled, and without a folder
      `train` all of them are train. A single folder `images` or the like is no class.

    Where one folder alone is in it which holds the classes or splits, that folder is taken. Class
    folders are searched to any depth, links to folders are followed, hidden files and folders and
    those of systems (`__MACOSX`, `@eaDir`) are left out. Classes are the sorted names of their
    folders. Files become RGB, to be normalised with ImageNet's mean and std; TIFFs of several
    bands become as many channels, with the mean and std of 100 of them. They are decoded when they
    are read, so a broken one is found only then.

    What is not read is said by an `ImageSourceWarning`, and in `notes` of the source.

    Args:
        data_dir: path of the folder, or of a table of images: a CSV file that begins with the
            line `path,label` or `path,label,split`, or JSON lines with these keys. Its paths count
            from its folder, and an image may have several labels (`cat;dog`, or a list).
        split: "train", "validation" or "test". Where there is no validation split,
            `source.split(fraction, seed)` of the training images makes one.
        pixel_range: optional (low, high), the values that are black and white in files of more
            than 8 bits. Default: what `pixel_survey.survey_pixels` finds, of the training images
            for both splits.

    Returns:
        `ImageSource`.

    Raises:
        NoSuchSplitError: there is no such split; an ImageSourceError.
        ImageSourceError: the folder cannot be used as it is, or is probably not what was meant.
        ValueError: a pixel range that is none.

    Examples:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from keras_convnextv2.data import open_source
        >>> for name in ("cat", "dog"):
        ...     Path("photographs", name).mkdir(parents=True)
        ...     for number in range(5):
        ...         Image.new("RGB", (40, 30)).save(f"photographs/{name}/{number}.png")
        >>> train, test = open_source("photographs", "train"), open_source("photographs", "test")
        >>> train.class_names, len(train), len(test)
        (('cat', 'dog'), 8, 2)
    """
    if split not in KINDS:
        raise ImageSourceError(
            f"`split` must be 'train', 'validation' or 'test'. Received: {split!r}"
        )
    if not os.fspath(data_dir):
        raise ImageSourceError("The data folder is ''. Name a folder of images.")
    folder = Path(data_dir).expanduser()
    if not folder.exists():
        raise ImageSourceError(f"The data folder {folder} does not exist. Check the path.")
    if pixel_range is not None and not isinstance(pixel_range, PixelRange):
        pixel_range = PixelRange(*pixel_range)
    if not folder.is_dir():
        source = _open_file(folder, split, pixel_range)
    elif (folder / INDEX_NAME).exists():
        source = open_packed(folder, split)
    elif is_tfds(folder):
        source = open_tfds(folder, split)
    elif any((folder / f"{name}.npz").is_file() for name in KINDS):
        source = open_npz(folder, split)
    else:
        source = open_folder(folder, split, pixel_range)
    for note in source.notes:
        warnings.warn(note, ImageSourceWarning, stacklevel=2)
    return source


def _open_file(path, split, pixel_range):
    if path.suffix.lower() not in TABLE_ENDINGS:
        raise ImageSourceError(
            f"{path} is a file. Name the folder that holds the images, or a table of them "
            f"({' '.join(TABLE_ENDINGS)})."
        )
    return open_table(path, split, pixel_range)
