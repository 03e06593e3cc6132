"""Images in files, in folders."""

import dataclasses
import os
from pathlib import Path

import numpy as np

from keras_convnextv2.data.decoding import read_image
from keras_convnextv2.data.image_memory import MAX_MEGAPIXELS
from keras_convnextv2.data.image_source import (
    ImageSource,
    ImageSourceError,
    count_images,
    name_some,
)
from keras_convnextv2.models.normalisation import IMAGENET_MEAN, IMAGENET_STD

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "validation", "val")}


@dataclasses.dataclass(frozen=True, eq=False)
class FileSource(ImageSource):
    """Images in files: `records` are N paths.

    Attributes:
        max_megapixels: float, how many million pixels of a file are decoded at most.
    """

    max_megapixels: float = MAX_MEGAPIXELS

    def _read_one(self, record, image_size):
        try:
            return read_image(record, image_size, self.max_megapixels)
        except ImportError as error:  # not the file's fault
            raise ImageSourceError(
                f"Image files are read with Pillow, which cannot be imported ({error}). "
                "Install it: pip install pillow"
            ) from error
        except Exception as error:  # decoders raise anything on damaged bytes
            raise ImageSourceError(
                f"{record} cannot be read as an image ({type(error).__name__}: {error}). "
                "Replace the file or delete it."
            ) from error


def find_image_files(folder):
    """Sorted paths of all image files below a folder, to any depth, without hidden ones.

    Raises:
        ImageSourceError: no images, or a folder that cannot be read.
    """
    classes, loose = _list_images(Path(folder))
    return sorted([path for paths in classes.values() for path in paths] + loose)


def count_files(folder):
    """How many files are below a folder, to any depth, without hidden ones."""
    return sum(len(files) for _, files in _walk(Path(folder)))


def open_files(paths):
    """`FileSource` of files by their paths, unlabelled."""
    return _file_source({}, list(paths), "files")


def open_folder(folder, split):
    """`FileSource` of a folder in one of the layouts that `open_source` describes.

    Raises:
        ImageSourceError: no images, no such split, classes that differ between the splits.
    """
    # By lower-case names: were `Train` and `Test` taken for classes, training would seem to work.
    folders = {name.lower(): name for name in _folder_names(folder)}
    if not any(name in folders for names in SPLIT_FOLDERS.values() for name in names):
        return _open_unsplit(folder, split)
    names = SPLIT_FOLDERS[split]
    present = [folders[name] for name in names if name in folders]
    if not present:
        raise ImageSourceError(
            f"{folder} has no {split} split: it has the folders "
            f"{name_some(sorted(folders.values()))}, but none named {' or '.join(names)}. Add it."
        )
    classes, loose = _list_images(folder / present[0])
    if split == "test" and "train" in folders:
        _check_same_classes(classes, folder / present[0], folder / folders["train"])
    return _file_source(classes, loose, str(folder / present[0]))


def _open_unsplit(folder, split):
    classes, loose = _list_images(folder)
    if not classes:
        if split == "test":
            raise ImageSourceError(
                f"{folder} has no test split: its images are not in class folders, and all of "
                "them are train. Sort them into folders train and test."
            )
        return _file_source(classes, loose, str(folder))
    classes = {
        name: [path for place, path in enumerate(paths) if (place % 5 == 4) == (split == "test")]
        for name, paths in classes.items()
    }
    if not any(classes.values()):
        raise ImageSourceError(
            f"{folder} has no test split: it would be every fifth image of a class, and no class "
            "has five. Add images, or sort them into folders train and test."
        )
    place = f"{folder} (no split folders: every fifth image of a class is test, this is {split})"
    return _file_source(classes, loose, place)


def _file_source(classes, loose, place):
    """`classes`: {name: paths}, empty where the `loose` paths are all there is."""
    paths = [path for paths in classes.values() for path in paths] or loose
    lengths = [len(paths) for paths in classes.values()]
    description = f"{count_images(len(paths), classes)} in {place}"
    if classes and loose:
        description += f", besides {len(loose)} outside the class folders, not used"
    return FileSource(
        records=np.array(paths, dtype=object),
        labels=np.repeat(np.arange(len(classes), dtype="int32"), lengths) if classes else None,
        class_names=tuple(classes),
        channels=3,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        native_size=None,
        description=description,
    )


def _check_same_classes(classes, test_folder, train_folder):
    train_names = _folder_names(train_folder)
    # Where one of them is unlabelled there is nothing to compare.
    if not classes or not train_names or list(classes) == train_names:
        return
    missing = [name for name in train_names if name not in classes]
    unknown = [name for name in classes if name not in train_names]
    raise ImageSourceError(
        f"The classes of {test_folder} differ from those of {train_folder}. "
        f"Missing: {name_some(missing)}; not in train: {name_some(unknown)}. "
        "Make the same class folders in both, empty ones where there are no images."
    )


def _list_images(folder):
    """Paths of the images below a folder: ({class name: sorted paths}, sorted loose paths).

    No classes where no class folder holds an image.
    """
    classes = {}
    num_others = 0
    for name in _folder_names(folder):
        paths = [path for _, files in _walk(folder / name) for path in files]
        classes[name] = sorted(path for path in paths if _is_image(path))
        num_others += len(paths) - len(classes[name])
    _, files = next(_walk(folder))
    loose = sorted(path for path in files if _is_image(path))
    num_others += len(files) - len(loose)
    if any(classes.values()):
        return classes, loose
    if loose:
        return {}, loose
    raise ImageSourceError(
        f"{folder} holds no images: looked in it and in its {len(classes)} folders for "
        f"{' '.join(SUFFIXES)} in any case, found {num_others} other files. Check the path."
    )


def _folder_names(folder):
    """Sorted names of the folders in a folder, without hidden ones."""
    names, _ = next(_walk(folder))
    return sorted(names)


def _walk(top):
    """For each folder below `top`: (names of its folders, paths of its files), none hidden."""

    def refuse(error):  # os.walk would leave the folder out in silence
        raise ImageSourceError(f"{error.filename} cannot be read ({error}). Check its rights.")

    for folder, names, files in os.walk(top, onerror=refuse):
        names[:] = [name for name in names if not name.startswith(".")]
        yield names, [os.path.join(folder, file) for file in files if not file.startswith(".")]


def _is_image(path):
    return path.lower().endswith(SUFFIXES)
