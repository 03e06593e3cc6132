"""Files of a run as a report reads them: any may be missing, cut, or somebody else's."""

import dataclasses
import io
import json
from pathlib import Path

_MOST_BYTES = 32 * 2**20  # of a file
_MOST_PIXELS = 2**26  # of a picture


class NotThere(Exception):
    """A file that cannot be shown, in words: "run.json is missing"."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture within a page.

    Args:
        uri: str, "data:image/...".
        width, height: ints, pixels.
    """

    uri: str
    width: int
    height: int


def read_bytes(path):
    """What a file holds.

    Raises:
        NotThere: it is missing, no file, too large, or cannot be read.
    """
    from keras_convnextv2.data.regular_file import RegularFile

    path = Path(path)
    try:
        with RegularFile(path) as file:
            found = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise NotThere(f"{path.name} is missing") from None
    except (OSError, ValueError) as error:
        raise NotThere(f"{path.name} cannot be read ({error})") from error
    if len(found) > _MOST_BYTES:
        raise NotThere(f"{path.name} is too large, more than {_MOST_BYTES // 2**20} MB")
    return found


def read_text(path):
    """As `read_bytes`; what is no UTF-8 is shown as escapes."""
    return read_bytes(path).decode("utf-8", "backslashreplace")


def read_object(path):
    """The dict of a JSON file.

    Raises:
        NotThere: as `read_bytes`, or it is damaged.
    """
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise NotThere(f"{Path(path).name} is damaged ({error})") from error
    if not isinstance(found, dict):
        raise NotThere(f"{Path(path).name} is damaged (it holds no object)")
    return found


def read_picture(path, most_pixels=_MOST_PIXELS):
    """A PNG of at most so many pixels as a `PIL.Image.Image`, RGB.

    Raises:
        NotThere: as `read_bytes`, or it is no PNG, damaged or too large.
    """
    import PIL.Image

    content = io.BytesIO(read_bytes(path))
    try:
        with PIL.Image.open(content, formats=("PNG",)) as picture:
            if picture.width * picture.height > most_pixels:
                raise ValueError(f"{picture.width} x {picture.height} pixels")
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise NotThere(f"{Path(path).name} is no picture that can be shown ({error})") from error


def embedded(picture):
    """A `PIL.Image.Image` as a `Picture`, a PNG."""
    content = io.BytesIO()
    picture.save(content, format="PNG", optimize=True)
    return embedded_bytes(content.getvalue(), "png", picture.size)


def embedded_bytes(content, kind, size):
    """A `Picture` of a file's bytes: kind "png" or "gif", size (width, height)."""
    import base64

    text = base64.b64encode(content).decode("ascii")
    return Picture(f"data:image/{kind};base64,{text}", *size)
