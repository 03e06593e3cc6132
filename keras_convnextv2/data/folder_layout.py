"""What the folders of a folder of images are: splits, classes, or neither."""

import os
import re

from keras_convnextv2.data.image_source import ImageSourceError, name_some

# The kinds of folders that a split is taken from, the first that there is, and their names.
KINDS = {"train": ("train",), "validation": ("validation",), "test": ("test", "validation")}
NAMES = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("validation", "valid", "val", "evaluation", "eval"),
}
_KIND_OF = {name: kind for kind, names in NAMES.items() for name in names}
# What a folder is called that holds images of all kinds. Alone it is no class, and those of the
# first row are none beside others either ("photo" may be, beside "sketch").
_IMAGES = {"image", "images", "img", "imgs", "jpegimages"}
_CONTAINERS = _IMAGES | {
    *("jpeg", "jpg", "png", "picture", "pictures", "photo", "photos", "photographs"),
    *("data", "dataset", "all"),
}
_YEAR = re.compile(r"(19|20)\d\d$")
_TAIL = re.compile(r"(set|split|data|images|imgs)$")


def kind_of_split(name):
    """Which kind of split a folder's name says it is, a key of `NAMES`, or None.

    Case, a year at the end and a tail make no difference: "Training", "test_set", "val2017".
    """
    word = re.sub(r"[\s_.-]", "", _YEAR.sub("", name.lower()))
    return _KIND_OF.get(word) or _KIND_OF.get(_TAIL.sub("", word))


def enter(folder, in_split=False):
    """The `Folder` that holds the classes or the splits.

    That is the one given, or one below it: where there is one folder alone, and in it two or more
    (`archive/PetImages/Cat`), or images in a folder named for images (`images/1.png`). To read it
    as a class would be to have one class.

    Args:
        folder: `Folder`.
        in_split: bool, whether it is a split, in which no more splits are looked for.
    """
    inner, names = folder, []
    while not inner.images:
        filled = [below for below in inner.folders.values() if below.holds_images]
        if not in_split and any(kind_of_split(below.name) for below in filled):
            return inner
        if len(filled) != 1:
            break
        (inner,) = filled
        names.append(inner.name)
    several = sum(below.holds_images for below in inner.folders.values()) > 1
    return inner if several or all(name.lower() in _CONTAINERS for name in names) else folder


def find_splits(folder):
    """{kind: `Folder`} of the splits in a `Folder`, a key of `NAMES` each; empty for none.

    Raises:
        ImageSourceError: two folders of one split, or a folder that may be a split or a class.
    """
    found = {}
    for below in folder.folders.values():
        if kind := kind_of_split(below.name):
            found.setdefault(kind, []).append(below)
    splits = {}
    for kind, folders in found.items():
        filled = [below for below in folders if below.holds_images]
        if len(filled) > 1:
            raise ImageSourceError(
                f"{folder.path} has more than one {kind} split: the folders "
                f"{name_some(below.name for below in filled)}. Leave one of them there, or make "
                "them class folders of a folder train."
            )
        splits[kind] = (filled or folders)[0]
    if len(splits) == 1:
        _refuse_a_class_named_as_a_split(folder, *splits.values())
    if not splits:
        _refuse_unknown_splits(folder)
    return splits


def _refuse_a_class_named_as_a_split(folder, split):
    others = [below.name for below in folder.folders.values() if below.holds_images]
    others = [name for name in others if not kind_of_split(name)]
    if split.images and others:
        raise ImageSourceError(
            f"{split.path} has images but no class folders, and beside it are other folders of "
            f"images: {name_some(others)}. Is {split.name!r} a class? Then move all of them into "
            "a folder train. Is it a split? Then move the others elsewhere."
        )


def _refuse_unknown_splits(folder):
    filled = [below for below in folder.folders.values() if below.holds_images]
    kinds = {below.name: _kinds_in(below.name) for below in filled}
    of_training = [name for name, found in kinds.items() if "train" in found]
    of_others = [name for name, found in kinds.items() if found - {"train"}]
    if of_training and of_others:
        raise ImageSourceError(
            f"{folder.path} has the folders {name_some(of_training + of_others)}, which look like "
            "splits, not like classes. Name them train and test, or the data folder that holds "
            "folders of these names."
        )
    inside = [set(map(kind_of_split, below.folders)) - {None} for below in filled]
    if filled and all("train" in kinds and len(kinds) > 1 for kinds in inside):
        name = filled[0].name
        raise ImageSourceError(
            f"{folder.path} has splits inside of its class folders, such as "
            f"{os.path.join(name, 'train')}; all their images would be mixed. Expected "
            f"{os.path.join('train', name)} and {os.path.join('test', name)}."
        )


def _kinds_in(name):
    return {_KIND_OF[word] for word in re.split(r"[^a-z]+", name.lower()) if word in _KIND_OF}


def classes_in(folder):
    """The class folders in a `Folder`: ({name: `Folder`}, names of folders that are none).

    Folders that hold images, and empty ones beside them, are classes; those that hold only other
    files are not. No classes where no folder holds images.

    Raises:
        ImageSourceError: one of them is named for what images are, not for a class.
    """
    classes = {
        name: below
        for name, below in folder.folders.items()
        if below.holds_images or below.is_empty
    }
    filled = [name for name, below in classes.items() if below.holds_images]
    if not filled:
        return {}, []
    containers = [name for name in filled if name.lower() in _IMAGES]
    if containers and len(filled) > 1:
        others = [name for name in filled if name not in containers]
        path = os.path.join(folder.path, containers[0])
        raise ImageSourceError(
            f"{folder.path} has the folder {containers[0]!r}, which is hardly a class, beside "
            f"{name_some(others or containers[1:])}. Name {path} as the data folder to read its "
            "images alone, or leave only class folders there."
        )
    return classes, [name for name in folder.folders if name not in classes]
