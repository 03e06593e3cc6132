"""The bytes of an image file, wherever they lie: in a file, or already in memory."""

import dataclasses
import io

from keras_convnextv2.data.regular_file import RegularFile


@dataclasses.dataclass(frozen=True)
class StoredBytes:
    """The content of an image file that is not in a file of its own.

    Args:
        name: str, what errors call it.
        content: bytes.
    """

    name: str
    content: bytes

    def __str__(self):
        return self.name


def open_bytes(stored):
    """A binary file to read from, of a path or of `StoredBytes`.

    Raises:
        ValueError: what is there is no file.
        OSError: nothing is there, or it cannot be opened.
    """
    return io.BytesIO(stored.content) if isinstance(stored, StoredBytes) else RegularFile(stored)
