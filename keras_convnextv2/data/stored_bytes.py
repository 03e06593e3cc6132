"""The bytes of an image file, wherever they lie: in a file, or already in memory."""

import dataclasses
import io


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
    """A binary file to read from, of a path or of `StoredBytes`."""
    return io.BytesIO(stored.content) if isinstance(stored, StoredBytes) else open(stored, "rb")
