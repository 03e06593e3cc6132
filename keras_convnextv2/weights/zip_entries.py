"""Entries of zip files that are stored as they are, so that they can be read in place."""

import contextlib
import io
import os
import struct
import zipfile
import zlib

from keras_convnextv2.weights.checkpoint import MAX_LISTING_BYTES
from keras_convnextv2.weights.errors import WeightsError

ZIP_MAGIC = b"PK\x03\x04"
_LOCAL_HEADER_BYTES = 30
_CHUNK_BYTES = 1 << 20


class _File(io.FileIO):
    """A file that `zipfile` does not read whole, whatever size it gives the list of entries."""

    def read(self, size=-1):
        if size > MAX_LISTING_BYTES:
            raise WeightsError(f"its list of entries has {size} bytes, more than any model's")
        return super().read(size)


@contextlib.contextmanager
def open_archive(path):
    """Opens a zip file of which only the list of entries is read.

    Yields:
        zipfile.ZipFile.

    Raises:
        WeightsError: the list is too long, or has an entry twice.
        Exception: of any type, where it is damaged.
    """
    with _File(path) as file, zipfile.ZipFile(file) as archive:
        if sum(info.compress_size for info in archive.infolist()) > os.path.getsize(path):
            raise WeightsError("its entries overlap or go on beyond the end of the file")
        if len(set(archive.namelist())) != len(archive.namelist()):
            raise WeightsError("it has several entries of one name")
        yield archive


def ends_as_archive(path):
    """Whether a file ends as a zip file does, which one that was cut does not."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # an end that tells of other disks
        return False


class ZipEntry:
    """An uncompressed entry, whose place has been checked against the file's size.

    Attributes:
        path: of the zip file.
        offset: of the entry's first byte in the zip file.
        size: in bytes.
    """

    def __init__(self, path, archive, name):
        """
        Args:
            path: of the zip file.
            archive: of `open_archive`.
            name: of the entry.

        Raises:
            WeightsError: no such entry, a compressed one, or one beyond the file's end.
        """
        try:
            info = archive.getinfo(name)
        except KeyError as error:
            raise WeightsError(f"it has no entry {name[:100]!r}") from error
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            # A few compressed bytes can stand for gigabytes.
            raise WeightsError(f"its entry {name} is compressed, which no library here writes")
        with open(path, "rb") as file:
            file.seek(info.header_offset)
            header = file.read(_LOCAL_HEADER_BYTES)
            end = file.seek(0, os.SEEK_END)
        name_bytes, extra_bytes = struct.unpack("<HH", header[26:])
        self.path = path
        self.offset = info.header_offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes
        self.size = info.file_size
        self._name, self._crc, self._checked = name, info.CRC, False
        if self.offset + self.size > end:
            raise WeightsError(f"its entry {name} goes on beyond the end of the file")

    def read(self):
        """All bytes, checked. For what lists tensors."""
        if self.size > MAX_LISTING_BYTES:
            raise WeightsError(f"its entry {self._name} has {self.size} bytes, too many to be true")
        self.check()
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(self.size)

    def check(self):
        """Compares the checksum, once.

        Raises:
            WeightsError: the bytes are not those that were written.
        """
        if self._checked:
            return
        crc, left = 0, self.size
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
                crc = zlib.crc32(chunk, crc)
                left -= len(chunk)
        if left or crc != self._crc:
            raise WeightsError(f"{self.path} is damaged: the checksum of {self._name} is another.")
        self._checked = True
