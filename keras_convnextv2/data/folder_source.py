"""Images in files, in folders."""

import collections
import dataclasses
import os

import numpy as np

from keras_convnextv2.data.file_source import FileSource
from keras_convnextv2.data.folder_layout import (
    KINDS,
    NAMES,
    classes_in,
    enter,
    find_splits,
    kind_of_split,
)
from keras_convnextv2.data.folder_tree import ENDINGS, Folder, by_ending, describe_passed_over
from keras_convnextv2.data.image_source import (
    ImageSourceError,
    NoSuchSplitError,
    count_images,
    name_some,
)
from keras_convnextv2.data.pixel_survey import (
    RGB_PIXELS,
    demand_decoders,
    survey_pixels,
    survey_split,
)

_TABLES = (".csv", ".tsv", ".json", ".xml", ".xlsx", ".parquet")


def find_image_files(folder):
    """Sorted paths of all image files below a folder, to any depth, without hidden ones.

    Raises:
        ImageSourceError: no images, or a folder that cannot be read.
    """
    folder = Folder(folder)
    _demand_images(folder)
    return folder.all_images()


def passed_over(folder):
    """One line on the files below a folder that `find_image_files` passes over, or None."""
    return describe_passed_over(Folder(folder))


def open_files(paths, channels=3, pixel_range=None):
    """`FileSource` of files by their paths, unlabelled.

    Args:
        paths: of the files.
        channels: int, how many channels they are read with.
        pixel_range: optional `PixelRange`, of those that have more than 8 bits.
    """
    pixels = dataclasses.replace(RGB_PIXELS, channels=channels, pixel_range=pixel_range)
    return _file_source({}, list(paths), "files", pixels)


def open_folder(folder, split, pixel_range=None):
    """`FileSource` of a folder in one of the layouts that `open_source` describes.

    Args:
        folder: Path.
        split: "train", "validation" or "test".
        pixel_range: optional `PixelRange`; see `survey_pixels`.

    Raises:
        NoSuchSplitError: no such split.
        ImageSourceError: no images, classes that differ between the splits, or folders that are
            probably not what was meant.
    """
    named = Folder(folder)
    _demand_images(named)
    top = enter(named)
    splits = find_splits(top)
    if splits:
        return _open_split(top, splits, split, pixel_range)
    return _open_unsplit(named, top, split, pixel_range)


def _open_split(top, splits, split, pixel_range):
    entered = {kind: enter(folder, in_split=True) for kind, folder in splits.items()}
    train = entered.get("train")
    present = [entered[kind] for kind in KINDS[split] if kind in entered]
    if split == "validation" and (not present or _chosen(entered, "test") in (None, *present)):
        raise NoSuchSplitError(_no_validation(top.path, present))
    if not present:
        names = " or ".join(name for kind in KINDS[split] for name in NAMES[kind])
        raise NoSuchSplitError(
            f"{top.path} has no {split} split: it has the folders {name_some(top.folders)}, but "
            f"none named {names}. Add it."
        )
    chosen, notes = _chosen(entered, split), []
    if split != "train" and _has_classes(train) and not _has_classes(present[0]):
        taken = f"; {chosen.path} is taken in its place" if chosen is not present[0] else ""
        notes.append(f"{present[0].path} has no class folders, and {train.path} has{taken}.")
    _demand_images(chosen)
    classes, loose, more_notes = _list_images(chosen, chosen)
    if split != "train" and train is not None:
        _check_same_classes(classes, chosen, train)
    others = {name: below for name, below in top.folders.items() if not kind_of_split(name)}
    if beside := [name for name, below in others.items() if below.holds_images]:
        notes.append(f"{top.path}: folders beside the splits are not used: {name_some(beside)}.")
    # The same pixels are looked at for both splits.
    trained_on = train.all_images() if split != "train" and train is not None else []
    demand_decoders(_all(classes, loose))
    pixels = survey_split(trained_on, _all(classes, loose), pixel_range)
    return _file_source(classes, loose, chosen.path, pixels, notes + more_notes)


def _chosen(entered, split):
    """Of the folders {kind: `Folder`} the one that a split is taken from, or None."""
    present = [entered[kind] for kind in KINDS[split] if kind in entered]
    if split != "train" and _has_classes(entered.get("train")):
        # Where labels can be had, images without are not what a model is to be tested on.
        present = [folder for folder in present if _has_classes(folder)] or present
    return present[0] if present else None


def _has_classes(folder):
    return folder is not None and bool(classes_in(folder)[0])


def _open_unsplit(named, top, split, pixel_range):
    """`named` is the folder that was named, `top` the one in it that holds the classes."""
    classes, loose, notes = _list_images(top, named)
    siblings = _other_splits_beside(top)
    if siblings:
        above = os.path.dirname(os.path.abspath(top.path))
        notes.append(
            f"{top.path} is read as a whole data set; beside it is {name_some(siblings)}. To use "
            f"both as splits, name {above}."
        )
    if split == "validation":
        raise NoSuchSplitError(_no_validation(top.path, []))
    demand_decoders(_all(classes, loose))
    pixels = survey_pixels(_all(classes, loose), pixel_range)
    if not classes:
        if split == "test":
            raise NoSuchSplitError(
                f"{top.path} has no test split: its images are not in class folders, and all of "
                "them are train. Sort them into folders train and test."
            )
        return _file_source(classes, loose, top.path, pixels, notes)
    classes = {
        name: [path for place, path in enumerate(paths) if (place % 5 == 4) == (split == "test")]
        for name, paths in classes.items()
    }
    if not any(classes.values()):
        raise NoSuchSplitError(
            f"{top.path} has no test split: it would be every fifth image of a class, and no class "
            "has five. Add images, or sort them into folders train and test."
        )
    place = f"{top.path} (no split folders: every fifth image of a class is test, this is {split})"
    return _file_source(classes, loose, place, pixels, notes)


def _no_validation(path, present):
    why = f": {present[0].path} is its test split, as there is no other" if present else ""
    return (
        f"{path} has no validation split{why}. Add a folder validation beside test, or hold out "
        "some of the training images (`source.split(fraction, seed)`)."
    )


def _other_splits_beside(top):
    """Names of the other splits where the data folder is itself one, as `photographs/train`."""
    own = kind_of_split(top.name)
    if own is None:
        return []
    above = Folder(os.path.dirname(os.path.abspath(top.path)))
    try:
        return [name for name in above.folders if kind_of_split(name) not in (None, own)]
    except ImageSourceError:  # only the folder itself need be readable
        return []


def _file_source(classes, loose, place, pixels, notes=()):
    """`classes`: {name: paths}, empty where the `loose` paths are all there is."""
    paths = _all(classes, loose)
    lengths = [len(paths) for paths in classes.values()]
    description = f"{count_images(len(paths), classes)} in {place}"
    if classes and loose:
        description += f", besides {len(loose)} outside the class folders, not used"
    return FileSource(
        records=np.array(paths, dtype=object),
        labels=np.repeat(np.arange(len(classes), dtype="int32"), lengths) if classes else None,
        class_names=tuple(classes),
        channels=pixels.channels,
        mean=pixels.mean,
        std=pixels.std,
        native_size=None,
        description=description,
        pixel_range=pixels.pixel_range,
        notes=(*notes, *pixels.notes),
    )


def _all(classes, loose):
    return [path for paths in classes.values() for path in paths] or loose


def _check_same_classes(classes, test, train):
    train_names = list(classes_in(train)[0])
    # Where one of them is unlabelled there is nothing to compare.
    if not classes or not train_names or list(classes) == train_names:
        return
    missing = [name for name in train_names if name not in classes]
    unknown = [name for name in classes if name not in train_names]
    raise ImageSourceError(
        f"The classes of {test.path} differ from those of {train.path}. "
        f"Missing: {name_some(missing)}; not in train: {name_some(unknown)}. "
        "Make the same class folders in both, empty ones where there are no images."
    )


def _list_images(folder, named):
    """({class name: sorted paths}, sorted loose paths, notes on what is passed over in `named`)."""
    classes, no_classes = classes_in(folder)
    notes = [] if (note := describe_passed_over(named)) is None else [note]
    if no_classes:
        notes.append(
            f"{folder.path}: folders that hold other files but no images are no classes: "
            f"{name_some(no_classes)}."
        )
    others = folder.others | named.others
    if not classes and any(ending in others for ending in _TABLES):
        notes.append(
            f"{folder.path}: labels are taken from class folders alone; tables of them are not "
            "read, unless the table itself is named as the data folder."
        )
    return {name: below.all_images() for name, below in classes.items()}, folder.images, notes


def _demand_images(folder):
    if folder.holds_images:
        return
    others = collections.Counter()
    for below in folder.with_all_below():
        others += below.others
    found = f"{others.total()} other files" + (f" ({by_ending(others)})" if others else "")
    raise ImageSourceError(
        f"{folder.path} holds no images: looked in it and in its {len(folder.folders)} folders for "
        f"{' '.join(ENDINGS)} in any case, found {found}. Check the path."
    )
