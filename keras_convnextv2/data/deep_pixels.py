"""The values of PNG and TIFF files that Pillow alone would cut to 8 bits, or not read at all."""

import sys

import numpy as np

from keras_convnextv2.data.image_memory import MAX_MEGAPIXELS, demand_few_pixels
from keras_convnextv2.data.orientation import turned
from keras_convnextv2.data.packages import require
from keras_convnextv2.data.pillow_image import open_image
from keras_convnextv2.data.stored_bytes import open_bytes

# Of 16-bit colours Pillow keeps one byte of each sample, and its unpacker says which.
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_COLOURS = ("RGB", "RGBA", "RGBX")
_MOST_SAMPLES_OF_PILLOW = 6  # of a pixel; of a file with more it logs an error


def read_values(path, fields, max_megapixels=MAX_MEGAPIXELS):
    """The values of a file as they are stored, turned as its orientation says.

    Args:
        path: of a PNG or TIFF file; of several images in it the first is taken.
        fields: its `FileFields`.
        max_megapixels: float, how many million pixels are decoded at most.

    Returns:
        (h, w, bands) of any numeric dtype, without alpha.

    Raises:
        ImageSourceError: tifffile is needed and missing.
        Exception: of any type, where the file cannot be read or has too many pixels.
    """
    # A pixel of more than four samples counts as several.
    demand_few_pixels((fields.width * -(-fields.samples // 4), fields.height), max_megapixels)
    values = _by_pillow(path, fields)
    if values is None:
        values = _by_tifffile(path, fields)
    if values.dtype.kind == "c":
        raise ValueError("complex values have no brightness; store their magnitudes")
    values = values if values.ndim == 3 else values[..., None]
    if values.shape[-1] < fields.bands:
        raise ValueError(f"it says of itself {fields}, but holds an array {values.shape}")
    return values[..., : fields.bands]


def _by_pillow(path, fields):
    from PIL import UnidentifiedImageError

    if fields.kind == "png" and fields.samples == 2:  # each is two bytes of RGBA
        pairs = _decoded(path, fields, lambda rawmode: "RGBA").astype("uint16")
        return pairs[..., :1] * 256 + pairs[..., 1:2]
    if fields.samples > _MOST_SAMPLES_OF_PILLOW:
        return None
    try:
        with open_image(path, (fields.kind.upper(),)) as image:
            mode, tiles = image.mode, list(image.tile)
    except UnidentifiedImageError:
        if fields.kind == "png":
            raise
        return None  # a TIFF of a kind that Pillow does not know
    rawmodes = {_rawmode(tile.args) for tile in tiles}
    if fields.samples == 1 and mode.startswith(("I", "F")):
        values = _decoded(path, fields, _in_native_order if tiles[0][0] == "libtiff" else str)
        return values.view("uint32") if (fields.sample, fields.bits) == ("u", 32) else values
    if fields.samples == 1 and mode == "L" and (fields.sample, fields.bits) == ("i", 8):
        return _decoded(path, fields, str).view("int8")
    colours = {rawmode.partition(";")[0] for rawmode in rawmodes}
    is_known = fields.bits == 16 and fields.sample == "u" and fields.bands == 3
    if is_known and not fields.planar and colours <= set(_COLOURS):
        high = _decoded(path, fields, str).astype("uint16")
        low = _decoded(path, fields, lambda rawmode: rawmode[:-1] + _OTHER_BYTE[rawmode[-1]])
        return high[..., :3] * 256 + low[..., :3]
    return None


def _decoded(path, fields, unpacker):
    """A file's array by Pillow, which unpacks by the name that `unpacker` makes of its own."""
    from PIL import ImageOps

    with open_image(path, (fields.kind.upper(),)) as image:
        image.tile = [
            tile._replace(
                args=unpacker(tile.args)
                if isinstance(tile.args, str)
                else (unpacker(tile.args[0]), *tile.args[1:])
            )
            for tile in image.tile
        ]
        return np.asarray(ImageOps.exif_transpose(image))


def _rawmode(arguments):
    return arguments if isinstance(arguments, str) else arguments[0]


def _in_native_order(rawmode):
    # libtiff turns the bytes; Pillow reckons with that for unsigned values of 16 bits alone.
    return rawmode.replace(";16B", ";16N").replace(";32B", ";32N")


def _by_tifffile(path, fields):
    tifffile = require("tifffile", "tiff", f"{path} is a TIFF of {fields}")
    with open_bytes(path) as stored, tifffile.TiffFile(stored) as file:
        page = file.pages[0]
        values = page.asarray()
        axes = page.axes
    if axes == "SYX":  # each band by itself
        values = np.moveaxis(values, 0, -1)
    elif axes not in ("YX", "YXS"):
        raise ValueError(f"its axes {axes} are not those of an image")
    return turned(values, fields.orientation)
