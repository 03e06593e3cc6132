"""One image file, or one array, as uint8 of a given size."""

import numpy as np

from keras_convnextv2.data.deep_pixels import read_values
from keras_convnextv2.data.file_fields import read_fields, read_head
from keras_convnextv2.data.image_memory import MAX_MEGAPIXELS, reduce
from keras_convnextv2.data.image_source import ImageSourceError
from keras_convnextv2.data.packages import require
from keras_convnextv2.data.pillow_image import open_image
from keras_convnextv2.data.regular_file import demand_regular_file

# Whatever a file is named, only these decoders see it; HEIC's too where there is one.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}


def read_image(path, image_size, channels=3, pixel_range=None, max_megapixels=MAX_MEGAPIXELS):
    """Decodes an image file into an image that fills `image_size`.

    The EXIF orientation is applied, alpha is dropped, pixels of more than 8 bits are scaled to 8,
    and of an animation the first frame is taken. What is more than fills is cut off evenly
    (`cover`). A JPEG file of more than four times the size is decoded at a half, a quarter or an
    eighth.

    Args:
        path: of a file in one of `FORMATS`, or HEIC where pillow-heif is installed.
        image_size: (H, W) in pixels.
        channels: int; 3 makes RGB of grey and of colours, others are a TIFF's number of bands.
        pixel_range: optional `PixelRange`, of files of more than 8 bits.
        max_megapixels: float, how many million pixels are decoded at most.

    Returns:
        uint8 (H, W, channels).

    Raises:
        ImageSourceError: a package is missing that this file needs, or its range is.
        Exception: of any type, since decoders raise what they like. What is no regular file, and
            what has too many pixels, is refused before it is read.
    """
    from PIL import ExifTags, ImageOps

    demand_regular_file(path)
    head = read_head(path)
    fields = read_fields(path, head)
    found = 3 if fields is None else fields.channels
    if found != channels:
        raise ValueError(f"it has {found} channels, not {channels}")
    if fields is not None and not fields.is_plain:
        return _fill(_read_deep(path, fields, pixel_range, max_megapixels), image_size)
    with open_image(path, _formats_for(path, head)) as image:
        extent = reduce(image, image_size, max_megapixels)
        if extent == image.size:
            ImageOps.exif_transpose(image, in_place=True)  # a copy would be as large again
            return np.asarray(cover(_to_rgb(image), image_size))
        # Turned, the margin that is not of the picture would be on another side.
        if image.getexif().get(ExifTags.Base.Orientation, 1) > 4:
            image_size = image_size[::-1]
        return np.asarray(ImageOps.exif_transpose(cover(_to_rgb(image), image_size, extent)))


def resize_array(array, image_size):
    """As `cover`, for uint8 (h, w, C) with any number of channels. Returns uint8 (H, W, C)."""
    from PIL import Image

    channels = [
        np.asarray(cover(Image.fromarray(array[..., channel]), image_size))
        for channel in range(array.shape[-1])
    ]
    return np.stack(channels, axis=-1)


def cover(image, image_size, extent=None):
    """Resizes a PIL image so that it just covers `image_size`, and crops the centre.

    Bicubic, with antialiasing where it shrinks. Crop and resize are one step, so that a strip of
    1x10000 pixels does not become a giant on the way.

    Args:
        image: `PIL.Image.Image`.
        image_size: (H, W) in pixels.
        extent: (width, height) of what is taken for the image, from its upper left corner, floats;
            None: all of it.
    """
    from PIL import Image

    height, width = image_size
    full_width, full_height = extent or image.size
    scale = max(height / full_height, width / full_width)
    box_width = min(full_width, width / scale)
    box_height = min(full_height, height / scale)
    left = (full_width - box_width) / 2
    top = (full_height - box_height) / 2
    box = (left, top, left + box_width, top + box_height)
    return image.resize((width, height), Image.Resampling.BICUBIC, box=box)


def _formats_for(path, head):
    # A box begins with its size; this one holds a brand, a version, and more brands.
    brands = {head[place : place + 4] for place in range(8, min(len(head), *head[3:4]), 4)}
    if head[4:8] != b"ftyp" or brands & _AVIF_BRANDS or not brands & _HEIF_BRANDS:
        return FORMATS
    require("pillow_heif", "heif", f"{path} is HEIC").register_heif_opener()
    return ("HEIF",)


def _read_deep(path, fields, pixel_range, max_megapixels):
    """uint8 (h, w, 1, 3 or more) of a file that Pillow alone does not read as it is."""
    if fields.has_range and pixel_range is None:
        raise ImageSourceError(
            f"{path} has {fields}, and which of its values are black and white is not known. "
            "Give a pixel range (--pixel_range of the recipes), such as 0,65535."
        )
    values = read_values(path, fields, max_megapixels)
    pixels = pixel_range.to_uint8(values) if fields.has_range else values
    if fields.white_is_zero:
        pixels = 255 - pixels
    return pixels if fields.no_data is None else pixels * (values != fields.no_data)


def _fill(pixels, image_size):
    filled = resize_array(np.ascontiguousarray(pixels), image_size)
    return filled.repeat(3, axis=-1) if filled.shape[-1] == 1 else filled


def _to_rgb(image):
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
