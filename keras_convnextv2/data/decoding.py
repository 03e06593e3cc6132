"""One image file, or one array, as uint8 of a given size. All uses of PIL are here."""

import numpy as np

# Whatever a file is named, only these decoders see it.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")


def read_image(path, image_size):
    """Decodes an image file into RGB that fills `image_size`.

    The EXIF orientation is applied, alpha is dropped, 16-bit grey is scaled to 8 bits, and of an
    animation the first frame is taken. What is more than fills is cut off evenly (`cover`).

    Args:
        path: of a file in one of `FORMATS`.
        image_size: (H, W) in pixels.

    Returns:
        uint8 (H, W, 3).

    Raises:
        Exception: of any type, since decoders raise what they like. Files of more than
            `PIL.Image.MAX_IMAGE_PIXELS` pixels are refused before they are decoded.
    """
    from PIL import Image, ImageOps

    with Image.open(path, formats=FORMATS) as image:
        # PIL refuses twice the limit and warns from the limit on. Checked here, since turning
        # its warning into an error would change the filters of every thread.
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and image.width * image.height > limit:
            raise Image.DecompressionBombError(
                f"{image.width}x{image.height} pixels are over the limit of {limit}"
            )
        return np.asarray(cover(_to_rgb(ImageOps.exif_transpose(image)), image_size))


def resize_array(array, image_size):
    """As `cover`, for uint8 (h, w, C) with any number of channels. Returns uint8 (H, W, C)."""
    from PIL import Image

    channels = [
        np.asarray(cover(Image.fromarray(array[..., channel]), image_size))
        for channel in range(array.shape[-1])
    ]
    return np.stack(channels, axis=-1)


def cover(image, image_size):
    """Resizes a PIL image so that it just covers `image_size`, and crops the centre.

    Bicubic, with antialiasing where it shrinks. Crop and resize are one step, so that a strip of
    1x10000 pixels does not become a giant on the way.

    Args:
        image: `PIL.Image.Image`.
        image_size: (H, W) in pixels.
    """
    from PIL import Image

    height, width = image_size
    scale = max(height / image.height, width / image.width)
    box_width = min(image.width, width / scale)
    box_height = min(image.height, height / scale)
    left = (image.width - box_width) / 2
    top = (image.height - box_height) / 2
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
    return image.convert("RGB")
