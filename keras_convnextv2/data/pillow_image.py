"""Image files as Pillow opens them."""

import contextlib

from keras_convnextv2.data.stored_bytes import open_bytes


@contextlib.contextmanager
def open_image(path, formats):
    """An open `PIL.Image.Image`, not decoded yet, by the decoders of some formats alone.

    Raises:
        PIL.UnidentifiedImageError: it is of none of these formats.
        OSError: the file cannot be opened.
    """
    from PIL import Image, UnidentifiedImageError

    # Not by its name: Pillow 12.3 would map a TIFF into memory, and misread one that is turned.
    with open_bytes(path) as file:
        try:
            image = Image.open(file, formats=formats)
        except UnidentifiedImageError:
            kinds = ", ".join(formats)
            raise UnidentifiedImageError(f"cannot identify image file as one of {kinds}") from None
        with image:
            yield image
