"""Files and folders that are there whole or not at all, whenever a program or a machine stops.

What is written goes under another name in the same folder, is brought to the disk, and takes its
name in one step. Until then what had that name before is untouched. All that the package writes
goes this way; but for what a library writes into a folder that did not exist.
"""

import contextlib
import os
import shutil
from pathlib import Path

_PREFIX = "unfinished"


def make_folders(path):
    """Makes a folder and what is missing above it; their names survive a loss of power too.

    Args:
        path: str or Path; may be there.
    """
    path = Path(path)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(missing):
        _bring_to_disk(folder.parent)


@contextlib.contextmanager
def whole_file(path):
    """Gives a name beside `path` to write to; when the block ends that file becomes `path`.

    After an error what was written is removed, and `path` is as before. What a program that was
    killed left is `unfinished.<its number>.<name>`.

    Args:
        path: str or Path; its folder is made. A file there is replaced.

    Yields:
        Path, with the ending of `path`.
    """
    path = Path(path)
    make_folders(path.parent)
    unfinished = path.with_name(f"{_PREFIX}.{os.getpid()}.{path.name}")
    try:
        yield unfinished
        put(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path, replace=False):
    """As `whole_file`, of a folder.

    Args:
        path: str or Path; must not exist.
        replace: bool, whether it may: a folder there is replaced. That takes two steps; a program
            that is killed between them, or a disk that fails there, leaves the folder of before as
            `unfinished.<its number>.before.<name>`.

    Yields:
        Path of an empty folder.
    """
    path = Path(path)
    unfinished, before = (
        path.with_name(f"{_PREFIX}.{os.getpid()}.{name}")
        for name in (path.name, f"before.{path.name}")
    )
    make_folders(path.parent)
    unfinished.mkdir()
    try:
        yield unfinished
        _bring_all_to_disk(unfinished)
        replaces = replace and path.is_dir()
        if replaces:
            os.replace(path, before)
        try:
            os.replace(unfinished, path)
        except OSError:
            if replaces:
                os.replace(before, path)
            raise
        _bring_to_disk(path.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if path.is_dir():
            shutil.rmtree(before, ignore_errors=True)


def put(source, path):
    """Gives a finished file or folder its name `path`, on the same disk, in one step.

    Args:
        source: Path.
        path: Path; a file there is replaced, a folder is not.
    """
    _bring_all_to_disk(source)
    os.replace(source, path)
    _bring_to_disk(path.parent)


def _bring_all_to_disk(path):
    """As `_bring_to_disk`, of a file, or of a folder and all in it."""
    if path.is_dir():
        for folder, _, names in os.walk(path, topdown=False):
            for name in names:
                _bring_to_disk(Path(folder, name))
            _bring_to_disk(folder)
    else:
        _bring_to_disk(path)


def _bring_to_disk(path):
    """Waits until a file, or the names in a folder, would survive a loss of power."""
    if os.name == "nt" and Path(path).is_dir():
        return  # Windows opens no folders, and writes names by itself
    # Windows brings only files to the disk that are open for writing.
    number = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
