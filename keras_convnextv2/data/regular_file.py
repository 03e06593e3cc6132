"""Files that are none: reading a named pipe waits for ever, and a device may never end."""

import io
import os
import stat

_KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
_SMALL = 1 << 16  # bytes


class RegularFile(io.BufferedReader):
    """A file opened to be read, which makes room for no more than it holds.

    Decoders ask for as many bytes as a file says of itself, and Python makes room for them before
    it reads: four gigabytes for a PNG of 300 bytes whose last part gives its length as that.

    Args:
        path: str or Path.

    Raises:
        ValueError: what is there is no file.
        OSError: nothing is there, or it cannot be opened.
    """

    def __init__(self, path):
        _demand_regular(os.stat(path).st_mode)  # to open a device may already do something
        super().__init__(io.FileIO(path, opener=_open_at_once))
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size=-1, /):
        if size is not None and size > _SMALL:
            size = min(size, max(self._size - self.tell(), 0))
        return super().read(size)


def _open_at_once(path, flags):
    """The number of an opened file; what took its name since it was looked at is not waited for."""
    number = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    try:
        _demand_regular(os.fstat(number).st_mode)
    except ValueError:
        os.close(number)
        raise
    return number


def demand_regular_file(path):
    """Raises ValueError for what is no file, and OSError where there is nothing."""
    _demand_regular(os.stat(path).st_mode)


def _demand_regular(mode):
    if not stat.S_ISREG(mode):
        raise ValueError(f"it is {_KINDS.get(stat.S_IFMT(mode), 'a device')}, not a file")
