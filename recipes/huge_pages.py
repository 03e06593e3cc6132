"""Memory in pages of 2 MB, where the system gives them to those who ask.

A step on a CPU takes large buffers and gives them back, and the system clears them for the next
step: in pages of 4 kB, that was a fifth to a third of a fine-tuning step of atto on JAX. glibc asks
for huge pages where `GLIBC_TUNABLES` tells it to, which it reads when a process starts.
"""

import os
import sys
from pathlib import Path

VARIABLE, VALUE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
_SYSTEM_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_FIRST_GLIBC = (2, 35)  # that knows the setting


def start_again_with_them():
    """Starts a recipe again, as the same process, with `VARIABLE` set.

    Returns where that is not how the program was started (by a debugger, in a notebook, in a test),
    where the variable is set already, and where it would do nothing: on macOS, Windows,
    musl and an older glibc, and where the system gives huge pages to all or to nobody.
    """
    if VARIABLE in os.environ or not (_is_started_by_name() and _is_of_use()):
        return
    sys.stdout.flush()
    sys.stderr.flush()
    environment = {**os.environ, VARIABLE: VALUE}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def _is_started_by_name():
    """By `python -m recipes.NAME FLAGS...`, or by `keras-convnextv2 NAME FLAGS...`."""
    specification = sys.modules["__main__"].__spec__
    words = sys.orig_argv
    if specification is None or not specification.name.startswith(f"{__package__}."):
        return False
    if "-m" in words:
        return words[words.index("-m") + 1] in (specification.name, __package__)
    return len(words) > 1 and Path(words[1]).stem == "keras-convnextv2"


def _is_of_use():
    try:
        library, version = os.confstr("CS_GNU_LIBC_VERSION").split()
        setting = _SYSTEM_SETTING.read_text()
    except (AttributeError, OSError, ValueError):
        return False
    numbers = tuple(map(int, version.split(".")[:2]))
    return library == "glibc" and numbers >= _FIRST_GLIBC and "[madvise]" in setting
