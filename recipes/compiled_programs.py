"""Programs that JAX compiled, kept from run to run: a first step would wait for its compiler."""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import sys
from pathlib import Path

from absl import flags

FLAGS = flags.FLAGS

VARIABLE = "JAX_COMPILATION_CACHE_DIR"  # which JAX reads when it is imported
_MOST_BYTES = 1_000_000_000  # in the folder of the default
_FIRST_JAXLIB = (0, 10)  # earlier ones were reported to crash on programs that they had kept

flags.DEFINE_string(
    "jax_cache_dir",
    None,
    "Folder where JAX keeps what it compiled, for the next run. Default: that of the variable "
    f"{VARIABLE}, else keras_convnextv2/jax in your cache folder, for jaxlib 0.10 and newer. "
    "Empty: keep nothing.",
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
        folder = _default_folder()
        if folder is None:
            return
        _make_room(folder)
    elif not folder:
        os.environ.pop(VARIABLE, None)
        return
    elif Path(folder).exists() and not Path(folder).is_dir():
        raise ValueError(f"--jax_cache_dir: {folder} is a file. Name a folder.")
    os.environ[VARIABLE] = str(folder)


def _default_folder():
    """Where programs are kept unasked; None where they should not be, or cannot."""
    try:
        # A folder for each processor: what was compiled for one may crash on another, and homes
        # are shared.
        folder = _user_cache() / "keras_convnextv2" / "jax" / _processor()
        return folder if _keeps_well() and _can_be_written(folder) else None
    except (OSError, RuntimeError):  # a folder that is not for us, or nobody's home
        return None


def _keeps_well():
    """Whether JAX is installed, in a version that can be trusted with this unasked."""
    try:
        version = importlib.metadata.version("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        return False
    return tuple(map(int, version.split(".")[:2])) >= _FIRST_JAXLIB


def _processor():
    """A short name of the processor's kind and abilities."""
    told = f"{platform.machine()} {platform.processor()}"
    with contextlib.suppress(OSError):  # on Linux alone
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        told = sorted({line for line in lines if line.startswith(("model name", "flags", "Feat"))})
    return hashlib.sha256(str(told).encode()).hexdigest()[:8]


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
