"""Entries of zip files that are stored as they are, so that they can be read in place."""

import os
import struct
import zipfile
import zlib

from keras_convnextv2.weights.errors import WeightsError

ZIP_MAGIC = b"PK\x03\x04"
_LOCAL_HEADER_BYTES = 30
_CHUNK_BYTES = 1 << 20


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
            archive: the `zipfile.ZipFile`, open.
            name: of the entry.

        Raises:
            WeightsError: no such entry or several, a compressed one, or one beyond the file's end.
        """
        found = [info for info in archive.infolist() if info.filename == name]
        if len(found) != 1:
            raise WeightsError(f"it has {len(found)} entries named {name}")
        (info,) = found
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
        """All bytes, checked. For small entries."""
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
