"""One image file, or one array, as uint8 of the size that a framing asks for."""

import numpy as np

from keras_convnextv2.data.deep_pixels import read_values
from keras_convnextv2.data.file_fields import read_fields, read_head
from keras_convnextv2.data.framing import as_framing
from keras_convnextv2.data.image_memory import MAX_MEGAPIXELS, demand_few_pixels, reduce
from keras_convnextv2.data.image_source import ImageSourceError
from keras_convnextv2.data.orientation import stored_box, turned, upright_size
from keras_convnextv2.data.packages import require
from keras_convnextv2.data.pillow_image import open_image

# Whatever a file is named, only these decoders see it; HEIC's too where there is one.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}


def read_image(
    path,
    framing,
    channels=3,
    pixel_range=None,
    max_megapixels=MAX_MEGAPIXELS,
    *,
    rng=None,
    exact=False,
):
    """Decodes the part of an image file that a framing chooses, in the size it asks for.

    The EXIF orientation is applied, alpha is dropped, pixels of more than 8 bits are scaled to 8,
    and of an animation the first frame is taken. Resizing is bicubic, with antialiasing where it
    shrinks. Where the box is at least four times as large as the size on both sides, a JPEG file is
    decoded at a half, a quarter or an eighth.

    Args:
        path: of a file in one of `FORMATS`, or HEIC where pillow-heif is installed.
        framing: what `framing` describes, or (H, W) in pixels for `Cover`.
        channels: int; 3 makes RGB of grey and of colours, others are a TIFF's number of bands.
        pixel_range: optional `PixelRange`, of files of more than 8 bits.
        max_megapixels: float, how many million pixels are decoded at most.
        rng: `numpy.random.Generator`, for a framing that draws its box.
        exact: bool, decodes JPEG files at full scale, whatever the box.

    Returns:
        uint8 (H, W, channels).

    Raises:
        ImageSourceError: a package is missing that this file needs, or its range is.
        Exception: of any type, since decoders raise what they like. What is no regular file, and
            what has too many pixels, is refused before it is read.
    """
    framing = as_framing(framing)
    head = read_head(path)
    if not head:
        raise ValueError("the file is empty")
    fields = read_fields(path, head)
    found = 3 if fields is None else fields.channels
    if found != channels:
        raise ValueError(f"it has {found} channels, not {channels}")
    if fields is not None and not fields.is_plain:
        pixels = _read_deep(path, fields, pixel_range, max_megapixels)
        filled = frame_array(np.ascontiguousarray(pixels), framing, rng)
        return filled.repeat(3, axis=-1) if filled.shape[-1] == 1 else filled
    with open_image(path, _formats_for(path, head)) as image:
        return _framed(image, framing, rng, max_megapixels, exact)


def _framed(image, framing, rng, max_megapixels, exact):
    """uint8 (H, W, 3) of an opened image; one that is reduced is turned when it is small."""
    from PIL import ExifTags, ImageOps

    is_jpeg = image.format in ("JPEG", "MPO")
    if not is_jpeg or exact:
        demand_few_pixels(image.size, max_megapixels)
    if not is_jpeg:
        image.load()  # some decoders set it upright, and say so only then
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    upright = upright_size(image.size, orientation)
    box, size = framing.box(*upright, rng), framing.image_size[::-1]
    square = 1
    if is_jpeg and not exact:
        stored = stored_box(box, upright, orientation)
        square = reduce(image, upright_size(size, orientation), stored, max_megapixels)
    if square == 1:
        ImageOps.exif_transpose(image, in_place=True)  # a copy would be as large again
        return np.asarray(resize(_to_rgb(image), size, box))
    stored = tuple(edge / square for edge in stored)
    pixels = np.asarray(resize(_to_rgb(image), upright_size(size, orientation), stored))
    return np.ascontiguousarray(turned(pixels, orientation))


def frame_array(array, framing, rng=None):
    """The part of an array that a framing chooses, each channel as a grey image.

    Args:
        array: uint8 (h, w, C) with any number of channels.
        framing: what `framing` describes.
        rng: `numpy.random.Generator`, for a framing that draws its box.

    Returns:
        uint8 (H, W, C), a new array.
    """
    from PIL import Image

    height, width = array.shape[:2]
    box = framing.box(width, height, rng)
    wanted = framing.image_size[::-1]
    if box == (0, 0, width, height) and wanted == (width, height):
        return array.copy()
    channels = [
        np.asarray(resize(Image.fromarray(array[..., channel]), wanted, box))
        for channel in range(array.shape[-1])
    ]
    return np.stack(channels, axis=-1)


def resize(image, size, box):
    """Resizes a box of a PIL image: bicubic, with antialiasing where it shrinks.

    Args:
        image: `PIL.Image.Image`.
        size: (width, height) in pixels.
        box: (left, top, right, bottom) in pixels, floats; a margin of rounding is cut off.
    """
    from PIL import Image

    left, top, right, bottom = box
    box = max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height)
    return image.resize(size, Image.Resampling.BICUBIC, box=box)


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


def _to_rgb(image):
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
