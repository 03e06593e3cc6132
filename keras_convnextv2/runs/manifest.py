"""What a checkpoint holds, by size and SHA-256, so that anything missing or altered is seen."""

import hashlib
import json

from keras_convnextv2.runs.errors import CheckpointError

NAME = "manifest.json"
VERSION = 1
_MAX_BYTES = 1 << 20


def write(folder):
    """Writes the manifest of the files in a folder, which has no folders in it.

    Args:
        folder: Path.
    """
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": _digest(path)}
        for path in sorted(folder.iterdir())
    }
    (folder / NAME).write_text(json.dumps({"version": VERSION, "files": files}, indent=1) + "\n")


def check(folder, demanded=()):
    """Compares a folder with its manifest.

    Args:
        folder: Path.
        demanded: names of files that it must list.

    Raises:
        CheckpointError: saying what is wrong, without the folder's name.
    """
    files = _read(folder / NAME)
    for name in demanded:
        if name not in files:
            raise CheckpointError(f"its {NAME} does not list {name}")
    for name, wanted in files.items():
        path = folder / name
        try:
            size = path.stat().st_size
        except OSError as error:
            raise CheckpointError(f"{name} is missing") from error
        if not path.is_file() or path.is_symlink():
            raise CheckpointError(f"{name} is no file")
        if size != wanted["bytes"]:
            raise CheckpointError(f"{name} has {size} bytes instead of {wanted['bytes']}")
        if _digest(path) != wanted["sha256"]:
            raise CheckpointError(f"{name} has been altered since it was written")


def _read(path):
    """{name: {"bytes": int, "sha256": str}} of a manifest."""
    try:
        if path.is_symlink() or not path.is_file():
            raise CheckpointError(f"it has no {NAME}, which is written last")
        if path.stat().st_size > _MAX_BYTES:
            raise CheckpointError(f"its {NAME} is too large to be one")
        content = json.loads(path.read_bytes())
        if content["version"] != VERSION:
            raise CheckpointError(
                f"its format has the version {str(content['version'])[:20]}; this package reads "
                f"{VERSION}"
            )
        files = content["files"]
        for name, wanted in files.items():
            is_plain = name and name not in (".", "..") and not set(name) & set("/\\\0")
            if not (is_plain and type(wanted["bytes"]) is int and type(wanted["sha256"]) is str):
                raise CheckpointError(f"its {NAME} is damaged")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"its {NAME} is damaged") from error
    return files


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
