"""Image files that a user names, as arrays that a model takes."""

import csv
import os
import sys
from pathlib import Path

from . import image_memory
from .printable import printable


def find(words):
    """The paths of image files, sorted.

    Args:
        words: of --images, each the name of a file or a folder, or several with commas between.
            Files are taken as they are, folders are searched to any depth for image files; how
            many others a folder holds, by ending, is said on standard error.

    Raises:
        ValueError: a name of nothing, a folder without images, or no name.
    """
    from keras_convnextv2.data.folder_source import find_image_files, passed_over

    found = set()
    for name in filter(None, (name for word in words for name in _names_in(word))):
        path = Path(os.path.expanduser(name))
        if os.path.isdir(path):
            found.update(find_image_files(path))
            if note := passed_over(path):
                print(printable(note), file=sys.stderr)
        elif os.path.exists(path):
            found.add(str(path))
        else:
            raise ValueError(f"--images: there is no {name}. Name image files, or folders of them.")
    if not found or not all(words):
        raise ValueError("--images is empty. Name image files, or folders of them.")
    return sorted(found)


def _names_in(word):
    if os.path.exists(os.path.expanduser(word)):  # its commas, if any, are of the name
        return [word]
    try:
        return [name.strip() for names in csv.reader([word], strict=True) for name in names]
    except csv.Error:  # of a quotation mark or a line's end in a name
        return [word]


def check_channels(channels, name):
    """Raises ValueError where image files cannot fill the channels that model `name` takes."""
    if channels not in (1, 3):
        raise ValueError(
            f"{name} takes images of {channels} channels; files are read as grey or RGB."
        )


def read(path, image_size, channels, pixel_range=None):
    """One file as evaluation reads it: it covers a size, and the centre is cut out.

    Args:
        path: of the file.
        image_size: (H, W) in pixels.
        channels: 1 for grey (of colours their luma, as Pillow's), 3 for RGB, else the bands of a
            TIFF file.
        pixel_range: optional `PixelRange`, of files of more than 8 bits.

    Returns:
        uint8 (H, W, channels).

    Raises:
        ImageSourceError: the file cannot be read; names it.
    """
    import numpy as np
    import PIL.Image

    from keras_convnextv2.data.folder_source import open_files

    of_file = open_files([path], 3 if channels == 1 else channels, pixel_range)
    (pixels,) = image_memory.limited(of_file).read([0], image_size)
    if channels == 1:
        pixels = np.asarray(PIL.Image.fromarray(pixels).convert("L"))[..., None]
    return pixels
