"""Images in files of a kind that a decoder reads."""

import dataclasses

from keras_convnextv2.data.decoding import read_image
from keras_convnextv2.data.image_memory import MAX_MEGAPIXELS
from keras_convnextv2.data.image_source import (
    ImageSource,
    ImageSourceError,
    UnreadableImageError,
)


@dataclasses.dataclass(frozen=True, eq=False)
class FileSource(ImageSource):
    """Images in files: `records` are N paths.

    Attributes:
        max_megapixels: float, how many million pixels of a file are decoded at most.
        exact_decoding: bool, decodes JPEG files at full scale, however small they become.
    """

    max_megapixels: float = MAX_MEGAPIXELS
    exact_decoding: bool = False

    def stored(self, record):
        """The path of an entry of `records`, or its `StoredBytes`."""
        return record

    def _read_one(self, record, framing, rng):
        stored = self.stored(record)
        try:
            return read_image(
                stored,
                framing,
                self.channels,
                self.pixel_range,
                self.max_megapixels,
                rng=rng,
                exact=self.exact_decoding,
            )
        except ImageSourceError:  # says already what is missing
            raise
        except MemoryError as error:  # not the file's fault, and another would not fit either
            raise MemoryError(f"There is no memory left to read {stored}") from error
        except ImportError as error:  # not the file's fault
            raise ImageSourceError(
                f"Image files are read with Pillow, which cannot be imported ({error}). "
                "Install it: pip install pillow"
            ) from error
        except Exception as error:  # decoders raise anything on damaged bytes
            raise damaged(str(stored), error) from error


def damaged(name, error):
    """`UnreadableImageError` of an image, by what reading it raised."""
    reason = f"{type(error).__name__}: {error}"
    return UnreadableImageError(
        f"{name} cannot be read as an image ({reason}). Replace the file or delete it.",
        name=name,
        reason=reason,
    )
