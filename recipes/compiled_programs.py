"""Programs that JAX compiled, kept from run to run: a first step would wait for its compiler."""

import contextlib
import os
import sys
from pathlib import Path

from absl import flags

FLAGS = flags.FLAGS

VARIABLE = "JAX_COMPILATION_CACHE_DIR"  # which JAX reads when it is imported
_MOST_BYTES = 1_000_000_000  # in the folder of the default

flags.DEFINE_string(
    "jax_cache_dir",
    None,
    "Folder where JAX keeps what it compiled, for the next run. Default: that of the variable "
    f"{VARIABLE}, else keras_convnextv2/jax in your cache folder. Empty: keep nothing.",
)


def keep():
    """Tells JAX, before it is imported, where to keep compiled programs.

    Raises:
        ValueError: --jax_cache_dir is a file.
    """
    folder = FLAGS.jax_cache_dir
    if folder is None:
        if VARIABLE in os.environ:
            return
        folder = _user_cache() / "keras_convnextv2" / "jax"
        if not _can_be_written(folder):
            return
        _make_room(folder)
    elif not folder:
        os.environ.pop(VARIABLE, None)
        return
    elif Path(folder).exists() and not Path(folder).is_dir():
        raise ValueError(f"--jax_cache_dir: {folder} is a file. Name a folder.")
    os.environ[VARIABLE] = str(folder)


def _user_cache():
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _can_be_written(folder):
    """Whether a folder, or the next one above that exists, takes new files."""
    while not folder.exists():
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)


def _make_room(folder):
    """Deletes the programs that were not used for longest, until the others are few enough."""
    num_bytes = 0
    with contextlib.suppress(OSError):  # another run may do the same
        found = [(path.stat(), path) for path in folder.glob("*-cache")]
        for status, path in sorted(found, key=lambda pair: pair[0].st_atime, reverse=True):
            num_bytes += status.st_size
            if num_bytes > _MOST_BYTES:
                path.unlink()
