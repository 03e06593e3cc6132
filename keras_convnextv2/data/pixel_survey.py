"""What the pixels of a set of files are: found once, so that all of them are read alike."""

import dataclasses

import numpy as np

from keras_convnextv2.data.deep_pixels import read_values
from keras_convnextv2.data.file_fields import read_fields
from keras_convnextv2.data.image_source import ImageSourceError, spread
from keras_convnextv2.data.packages import require
from keras_convnextv2.data.pixel_range import BIT_DEPTHS, PixelRange
from keras_convnextv2.models.normalisation import IMAGENET_MEAN, IMAGENET_STD

_ENDINGS = (".png", ".tif", ".tiff")  # of the kinds that may have more than 8 bits or 3 bands
_HEIF_ENDINGS = (".heic", ".heif", ".hif")
_NUM_FIELDS = 20_000  # files whose fields are read, at most
_NUM_SCANNED = 100  # files whose pixels are read, at most
_NUM_PIXELS = 8192  # of a file that quantiles and means are of, at most
_QUANTILES = (0.001, 0.999)


@dataclasses.dataclass(frozen=True)
class Pixels:
    """What files are read as.

    Args:
        channels: int.
        pixel_range: `PixelRange`, or None where no file has more than 8 bits.
        mean, std: a float a channel, for images in 0..1.
        notes: tuple of str, what of the files is not read.
    """

    channels: int
    pixel_range: PixelRange | None
    mean: tuple
    std: tuple
    notes: tuple = ()


RGB_PIXELS = Pixels(3, None, IMAGENET_MEAN, IMAGENET_STD)


def survey_pixels(paths, pixel_range=None):
    """What a set of files is to be read as, by their fields and, where these do not say it, pixels.

    Files of 8 bits are taken as they are. For the others the range is `pixel_range`; else what
    the files' own fields say, if all of them do; else it is looked for in the pixels of 100 files
    spread over all: of integers from 0 on the least of 8, 10, 12, 14 and 16 bits that holds them,
    of floats within 0..1 that, of others all but 0.1 % of the pixels at each end.

    TIFFs of several bands that are no colours become images of as many channels, with the mean and
    the standard deviation of these 100. All others become RGB, with ImageNet's.

    Args:
        paths: of the files.
        pixel_range: optional `PixelRange`.

    Raises:
        ImageSourceError: bands that differ, or a package that reads them is missing.
    """
    fields = _fields_of(paths)
    num_others = sum(not path.lower().endswith(_ENDINGS) for path in paths)
    channels = _channels(fields, all_rgb=num_others > 0)
    notes = _notes(fields)
    if channels == 3:
        pixel_range = _range_of(fields, pixel_range)
        return dataclasses.replace(RGB_PIXELS, pixel_range=pixel_range, notes=notes)
    scan = _Scan(fields)
    pixel_range = _range_of(fields, pixel_range, scan)
    return Pixels(channels, pixel_range, *scan.statistics(pixel_range), notes)


def survey_split(trained_on, paths, pixel_range=None):
    """`survey_pixels` of a split's files, by those that are trained on where there are any.

    Where these have 8 bits and the split's have more, the range is found in the split's.
    """
    pixels = survey_pixels(trained_on or paths, pixel_range)
    if trained_on and pixels.pixel_range is None:
        pixels = dataclasses.replace(pixels, pixel_range=find_pixel_range(paths, pixel_range))
    return pixels


def find_pixel_range(paths, pixel_range=None):
    """The `PixelRange` alone that `survey_pixels` finds, of files that need not be alike."""
    return _range_of(_fields_of(paths), pixel_range)


def demand_decoders(paths):
    """Raises ImageSourceError where files are HEIC and nothing that reads them is installed."""
    of_heif = [path for path in paths if path.lower().endswith(_HEIF_ENDINGS)]
    if of_heif:
        require("pillow_heif", "heif", f"{len(of_heif)} files are HEIC, such as {of_heif[0]}")


def _fields_of(paths):
    """{path: `FileFields`} of the PNGs and TIFFs among the files, or of 20,000 of them."""
    candidates = [path for path in paths if path.lower().endswith(_ENDINGS)]
    looked_at = (candidates[place] for place in spread(len(candidates), _NUM_FIELDS))
    return {path: fields for path in looked_at if (fields := _fields(path)) is not None}


def _fields(path):
    try:
        return read_fields(path)
    except Exception:  # a damaged file is named when it is read
        return None


def _range_of(fields, pixel_range, scan=None):
    deep = {path: found for path, found in fields.items() if found.has_range}
    if not deep or pixel_range is not None:
        return pixel_range if deep else None
    return _stated_range(list(deep.values())) or (scan or _Scan(deep)).pixel_range()


def _channels(fields, all_rgb):
    """How many channels files have, `all_rgb` being whether there are some of other kinds."""
    examples = {found.channels: path for path, found in fields.items()}
    if all_rgb:
        examples.setdefault(3, "the other files")
    if len(examples) > 1:
        words = (f"{path} has {channels}" for channels, path in sorted(examples.items()))
        raise ImageSourceError(
            f"The images do not have the same number of channels: {', '.join(words)}. Leave those "
            "of one kind in the folder."
        )
    return next(iter(examples), 3)


def _notes(fields):
    stacks = [path for path, found in fields.items() if found.has_more_images]
    if not stacks:
        return ()
    return (
        f"{len(stacks):,} TIFF file(s) hold several images, of which the first is read, such as "
        f"{stacks[0]}. Bands of one image belong into one image.",
    )


def _stated_range(all_fields):
    """The range that the files say, together; None where one of them does not say it."""
    if any(fields.high is None for fields in all_fields):
        return None
    return PixelRange(
        min(fields.low for fields in all_fields),
        max(fields.high for fields in all_fields),
        f"by the fields of {len(all_fields):,} file(s)",
    )


class _Scan:
    """The extremes of some of the files, and some pixels of each.

    Args:
        fields: {path: `FileFields`} of all files.
    """

    def __init__(self, fields):
        paths = list(fields)
        chosen = [paths[place] for place in spread(len(paths), _NUM_SCANNED)]
        self._origin = f"by a scan of {len(chosen):,} of {len(paths):,} file(s)"
        self._significant_bits = {found.significant_bits for found in fields.values()}
        self._pixels = []  # of each file float64 (n, bands), NaN without data
        self._extremes = []  # of each file two
        self._are_integers = True
        for path in chosen:
            try:
                self._add(read_values(path, fields[path]), fields[path].no_data)
            except ImageSourceError:
                raise
            except Exception as error:
                failure = error  # a damaged file is named when it is read
        if not self._pixels:
            raise ImageSourceError(
                f"None of {len(chosen)} files can be read to see what their pixels are, such as "
                f"{chosen[-1]} ({type(failure).__name__}: {failure}). Replace or delete them."
            ) from failure

    def _add(self, values, no_data):
        values = values.reshape(-1, values.shape[-1])
        self._are_integers &= values.dtype.kind != "f"
        if no_data is not None or values.dtype.kind == "f":
            values = np.where(np.isfinite(values) & (values != no_data), values, np.nan)
        if not np.isnan(values).all():
            self._extremes += [float(np.nanmin(values)), float(np.nanmax(values))]
        self._pixels.append(values[:: -(-len(values) // _NUM_PIXELS)].astype("float64"))

    def pixel_range(self):
        low, high = min(self._extremes, default=0.0), max(self._extremes, default=1.0)
        if low >= 0 and self._are_integers and high < 2 ** BIT_DEPTHS[-1]:
            return self._of_bits(high)
        if low >= 0 and high <= 1:
            return PixelRange(0, 1, self._origin)
        pixels = np.concatenate([pixels.ravel() for pixels in self._pixels])
        low, high = (float(f"{value:.6g}") for value in np.nanquantile(pixels, _QUANTILES))
        if not low < high:  # all the same
            low, high = low, low + 1
        return PixelRange(low, high, f"{self._origin}, which cuts off 0.1 % at each end")

    def _of_bits(self, high):
        if len(self._significant_bits) == 1 and None not in self._significant_bits:
            (bits,) = self._significant_bits
            if (
                bits < BIT_DEPTHS[-1] and high < 2**bits
            ):  # PNG asks for values that fill all bits, but not all writers heed
                return PixelRange(0, 2**bits - 1, f"by the field sBIT and {self._origin[3:]}")
        bits = next(bits for bits in BIT_DEPTHS if high < 2**bits)
        return PixelRange(0, 2**bits - 1, f"{bits} bits {self._origin}")

    def statistics(self, pixel_range):
        """(mean, std), a float a band each, of the images in 0..1."""
        pixels = np.concatenate(self._pixels)
        if pixel_range is not None:
            pixels = pixel_range.to_uint8(pixels)
        pixels = np.nan_to_num(pixels / 255)
        std = np.maximum(pixels.std(axis=0), 1 / 255)
        return tuple(pixels.mean(axis=0).tolist()), tuple(std.tolist())
