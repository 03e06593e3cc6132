"""Image files that a user names, as arrays that a model takes."""

import sys
from pathlib import Path


def find(names):
    """The paths of image files, sorted.

    Args:
        names: files, taken as they are, and folders, searched to any depth for image files; how
            many others a folder holds, by ending, is said on standard error.

    Raises:
        ValueError: a name of nothing, a folder without images, or no name.
    """
    from keras_convnextv2.data.folder_source import find_image_files, passed_over

    found = set()
    for name in filter(None, names):
        path = Path(name).expanduser()
        if path.is_dir():
            found.update(find_image_files(path))
            if note := passed_over(path):
                print(note, file=sys.stderr)
        elif path.exists():
            found.add(str(path))
        else:
            raise ValueError(f"--images: there is no {name}. Name image files, or folders of them.")
    if not found:
        raise ValueError("--images is empty. Name image files, or folders of them.")
    return sorted(found)


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

    source = open_files([path], 3 if channels == 1 else channels, pixel_range)
    (pixels,) = source.read([0], image_size)
    if channels == 1:
        pixels = np.asarray(PIL.Image.fromarray(pixels).convert("L"))[..., None]
    return pixels
