"""One image file, or one array, as uint8 of a given size. All uses of PIL are here."""

import numpy as np

from keras_convnextv2.data.image_memory import MAX_MEGAPIXELS, reduce
from keras_convnextv2.data.regular_file import demand_regular_file

# Whatever a file is named, only these decoders see it.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")


def read_image(path, image_size, max_megapixels=MAX_MEGAPIXELS):
    """Decodes an image file into RGB that fills `image_size`.

    The EXIF orientation is applied, alpha is dropped, 16-bit grey is scaled to 8 bits, and of an
    animation the first frame is taken. What is more than fills is cut off evenly (`cover`). A
    JPEG file of more than four times the size is decoded at a half, a quarter or an eighth.

    Args:
        path: of a file in one of `FORMATS`.
        image_size: (H, W) in pixels.
        max_megapixels: float, how many million pixels are decoded at most.

    Returns:
        uint8 (H, W, 3).

    Raises:
        Exception: of any type, since decoders raise what they like. What is no regular file, and
            what has too many pixels, is refused before it is read.
    """
    from PIL import ExifTags, Image, ImageOps

    demand_regular_file(path)
    with Image.open(path, formats=FORMATS) as image:
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


def _to_rgb(image):
    from PIL import Image

    if image.mode == "F":
        raise ValueError("float pixels have no known range; store 8 or 16 bits")
    if image.mode.startswith("I"):  # 16-bit grey, which `convert` would clip at 255
        values = np.asarray(image).astype("int64")
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(
                f"32-bit pixels from {values.min()} to {values.max()} have no known range; "
                "store 8 or 16 bits"
            )
        image = Image.fromarray(((values * 255 + 32767) // 65535).astype("uint8"))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
