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
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{_PREFIX}.{os.getpid()}.{path.name}")
    try:
        yield unfinished
        put(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path):
    """As `whole_file`, of a folder; `path` must not exist.

    Yields:
        Path of an empty folder.
    """
    path = Path(path)
    unfinished = path.with_name(f"{_PREFIX}.{os.getpid()}.{path.name}")
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        put(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def put(source, path):
    """Gives a finished file or folder its name `path`, on the same disk, in one step.

    Args:
        source: Path.
        path: Path; a file there is replaced, a folder is not.
    """
    if source.is_dir():
        for folder, _, names in os.walk(source, topdown=False):
            for name in names:
                _bring_to_disk(Path(folder, name))
            _bring_to_disk(folder)
    else:
        _bring_to_disk(source)
    os.replace(source, path)
    _bring_to_disk(path.parent)


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
