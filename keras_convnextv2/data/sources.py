"""Which kind of source a folder of images is."""

import os
from pathlib import Path

from keras_convnextv2.data.folder_source import SPLIT_FOLDERS, open_folder
from keras_convnextv2.data.image_source import ImageSource, ImageSourceError
from keras_convnextv2.data.npz_source import open_npz

__all__ = ["ImageSource", "ImageSourceError", "open_source"]


def open_source(data_dir, split):
    """Opens one split of a folder of images.

    The folder holds one of:
    - `train.npz` and `test.npz`, with the keys that `npz_source.CONTENTS` lists;
    - `train/<class>/*`, and for "test" the first that exists of `test`, `validation` and `val`;
    - `<class>/*`: every fifth image of a class, sorted by path, is test, the others are train;
    - images outside class folders, or `train` with such: unlabelled, and without a folder
      `train` all of them are train.

    Class folders are searched to any depth, hidden files are ignored. Classes are the sorted
    names of their folders. Files become RGB, to be normalised with ImageNet's mean and std; they
    are decoded when they are read, so a broken one is found only then.

    Args:
        data_dir: path of the folder.
        split: "train" or "test".

    Returns:
        `ImageSource`.

    Raises:
        ImageSourceError: the folder cannot be used as it is.

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
    if split not in SPLIT_FOLDERS:
        raise ImageSourceError(f"`split` must be 'train' or 'test'. Received: {split!r}")
    if not os.fspath(data_dir):
        raise ImageSourceError("The data folder is ''. Name a folder of images.")
    folder = Path(data_dir).expanduser()
    if not folder.exists():
        raise ImageSourceError(f"The data folder {folder} does not exist. Check the path.")
    if not folder.is_dir():
        raise ImageSourceError(f"{folder} is a file. Name the folder that holds the images.")
    if any((folder / f"{name}.npz").is_file() for name in SPLIT_FOLDERS):
        return open_npz(folder, split)
    return open_folder(folder, split)
