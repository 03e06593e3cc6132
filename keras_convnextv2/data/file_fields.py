"""What PNG and TIFF files say of their pixels, without decoding them."""

import dataclasses
import os

from keras_convnextv2.data.stored_bytes import open_bytes

_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0")  # the last is BigTIFF
_AFTER_HEADER = 33
_BANDS_OF_PNG = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}  # by the type of colour, without alpha
_ALPHA = (1, 2)  # of TIFF's ExtraSamples
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2  # TIFF's PhotometricInterpretation
_OF_ANOTHER = 1 | 4  # of TIFF's NewSubfileType: another image made smaller, or its mask
_SAMPLE_KINDS = {1: "u", 2: "i", 3: "f", 4: "u", 5: "c", 6: "c"}  # by TIFF's SampleFormat


@dataclasses.dataclass(frozen=True)
class FileFields:
    """What one file says.

    Args:
        kind: "png" or "tiff".
        height, width: in pixels.
        bits: of a sample.
        sample: "u", "i", "f" or "c", as NumPy's kinds of dtypes.
        bands: int, without alpha: 1 for grey, 3 for colours of any kind, else their number.
        samples: int, of a pixel, with alpha.
        low, high: the least and the greatest value, where the file says more than `bits` does.
        significant_bits: of PNG's sBIT.
        no_data: the value of pixels without data, by GDAL's field.
        are_colours: bool, whether three bands are red, green and blue by the file's own word.
        white_is_zero: bool, whether 0 is white.
        planar: bool, whether each band is stored by itself.
        orientation: as in EXIF.
        has_more_images: bool, whether other images follow the first, which alone is read.
    """

    kind: str
    height: int
    width: int
    bits: int
    sample: str = "u"
    bands: int = 3
    samples: int = 3
    low: float | None = None
    high: float | None = None
    significant_bits: int | None = None
    no_data: float | None = None
    are_colours: bool = True
    white_is_zero: bool = False
    planar: bool = False
    orientation: int = 1
    has_more_images: bool = False

    @property
    def has_range(self):
        """Whether a value's brightness is not known from the format alone."""
        return self.bits > 8 or self.sample != "u"

    @property
    def channels(self):
        """Of the image that it becomes: RGB for grey and colours, else as many as bands."""
        return 3 if self.bands in (1, 3) else self.bands

    @property
    def is_plain(self):
        """Whether Pillow reads it as it is."""
        return not self.has_range and (self.bands == 1 or self.bands == 3 and self.are_colours)

    def __str__(self):
        names = {"u": "unsigned", "i": "signed", "f": "float", "c": "complex"}
        return f"{self.bands} band(s) of {self.bits} bits, {names[self.sample]}"


def read_head(path):
    """The first 64 bytes of a file."""
    with open_bytes(path) as file:
        return file.read(64)


def read_fields(path, head=None):
    """The `FileFields` of a PNG or TIFF, None for any other kind.

    Args:
        path: of the file.
        head: optional bytes, what `read_head` gave.

    Raises:
        Exception: of any type, for a damaged file.
    """
    head = read_head(path) if head is None else head
    if head.startswith(_PNG):
        return _of_png(path, head)
    if head.startswith(_TIFF):
        return _of_tiff(path)
    return None


def _of_png(path, head):
    width, height = (int.from_bytes(head[start : start + 4], "big") for start in (16, 20))
    bits, colour = head[24], head[25]
    bands = _BANDS_OF_PNG[colour]
    samples = bands + (colour in (4, 6))
    known = FileFields("png", height, width, bits, bands=bands, samples=samples)
    if bits <= 8:
        return known
    with open_bytes(path) as file:
        file.seek(_AFTER_HEADER)
        while len(start := file.read(8)) == 8:
            length, name = int.from_bytes(start[:4], "big"), start[4:]
            if name == b"sBIT":
                significant = max(file.read(min(length, samples))[:bands])
                return dataclasses.replace(known, significant_bits=significant)
            if name == b"IDAT":
                break
            file.seek(length + 4, os.SEEK_CUR)
    return known


def _of_tiff(path):
    directory, has_more_images = _first_directory(path)

    def values(tag, default):
        found = directory.get(tag, default)
        return found if isinstance(found, tuple) else (found,)

    size = {"height": int(values(257, 0)[0]), "width": int(values(256, 0)[0])}
    photometric = values(262, _BLACK_IS_ZERO)[0]
    if photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):  # Pillow makes RGB of it
        return FileFields("tiff", **size, bits=8)
    samples = int(values(277, 1)[0])
    bands = samples - sum(extra in _ALPHA for extra in values(338, ()))
    if photometric == _RGB and bands == 4:  # the fourth is padding
        bands = 3
    bits, sample = int(max(values(258, 1))), _SAMPLE_KINDS[int(values(339, 1)[0])]
    return FileFields(
        "tiff",
        **size,
        bits=bits,
        sample=sample,
        bands=bands,
        samples=samples,
        **_range_of_tiff(values, bits, sample),
        no_data=_number(values(42113, None)[0]),
        are_colours=photometric == _RGB,
        white_is_zero=photometric == _WHITE_IS_ZERO,
        planar=values(284, 1)[0] == 2,
        orientation=int(values(274, 1)[0]),
        has_more_images=has_more_images,
    )


def _first_directory(path):
    """The fields of a TIFF's first image by their numbers, and whether more images follow."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    with open_bytes(path) as file:
        head = file.read(8)
        if b"+" in head[2:4]:
            head += file.read(8)
        first, second = ImageFileDirectory_v2(head), ImageFileDirectory_v2(head)
        file.seek(first.next)
        first.load(file)
        if not first.next:
            return dict(first), False
        file.seek(first.next)
        second.load(file)
        return dict(first), not second.get(254, 0) & _OF_ANOTHER


def _range_of_tiff(values, bits, sample):
    """{"low": ..., "high": ...} where the file says more than that a sample has so many bits."""
    for least, most in ((340, 341), (280, 281)):  # SMinSampleValue and the like
        high = values(most, (None,))
        low = values(least, 0)
        says_no_more = sample == "u" and None not in high and max(high) >= 2**bits - 1
        if None not in high and min(low) < max(high) and not says_no_more:
            return {"low": float(min(low)), "high": float(max(high))}
    if sample == "u" and 8 < bits < 16:
        return {"low": 0.0, "high": 2.0**bits - 1}
    return {}


def _number(text):
    try:
        return float(text.strip(" \0"))
    except (AttributeError, ValueError):
        return None
