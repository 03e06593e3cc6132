"""Files of records as TensorFlow writes them, read at random: without TensorFlow.

A record is its length as uint64, 4 bytes of a checksum, so many bytes, and 4 bytes of a checksum,
all little-endian. The checksums are not looked at: an image that is damaged is found when it is
decoded.
"""

import bisect
import itertools
import mmap
import struct

import numpy as np

from keras_convnextv2.data.regular_file import RegularFile

_LENGTH = struct.Struct("<Q")
_BEFORE, _AFTER = 12, 4  # bytes around the content of a record


class TfRecords:
    """The records of several files, by their place in all of them together.

    The files are mapped into memory, so that a part of a record can be looked at without reading
    the rest. Threads may share it.

    Args:
        paths: of the files.

    Raises:
        OSError: a file cannot be opened.
        ValueError: a file is cut off, or is none, or none of records.
    """

    def __init__(self, paths):
        self._files, self._starts = [], []
        for path in paths:
            with RegularFile(path) as file:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._files.append(memoryview(content))
            self._starts.append(_starts_of(path, self._files[-1]))
        self._ends = list(itertools.accumulate(map(len, self._starts)))

    def __len__(self):
        return self._ends[-1]

    def __getitem__(self, place):
        """A memoryview of the bytes of a record."""
        number = bisect.bisect_right(self._ends, place)
        starts = self._starts[number]
        start = int(starts[place - self._ends[number] + len(starts)])
        (length,) = _LENGTH.unpack_from(self._files[number], start)
        return self._files[number][start + _BEFORE : start + _BEFORE + length]


def _starts_of(path, content):
    starts, place = [], 0
    while place + _BEFORE <= len(content):
        starts.append(place)
        place += _LENGTH.unpack_from(content, place)[0] + _BEFORE + _AFTER
    if place != len(content):
        raise ValueError(f"{path} is cut off, or is no file of records")
    return np.array(starts, "int64")
