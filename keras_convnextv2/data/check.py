"""Which images of a source cannot be read, all of them, before a training begins."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from keras_convnextv2.data.batch_reader import error_of
from keras_convnextv2.data.framing import as_framing
from keras_convnextv2.data.image_source import UnreadableImageError

_A_WINDOW = 64  # images a thread, between two calls of `progress`


def find_bad_images(source, framing=(224, 224), *, workers=2, progress=None):
    """Reads every image of a source once, and lists those that cannot be read.

    Args:
        source: `ImageSource`.
        framing: (H, W) in pixels or another framing: what will be read of them. A JPEG file may be
            too large for one size and not for a smaller one.
        workers: int, threads.
        progress: optional function of (images looked at, images in all), called now and then.

    Returns:
        dict of {name: reason}, in the order of the source; empty where all can be read.

    Raises:
        ImageSourceError: none can be read for want of a package.

    Examples:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from keras_convnextv2.data import find_bad_images, open_source
        >>> Path("scans").mkdir()
        >>> Image.new("RGB", (40, 30)).save("scans/good.png")
        >>> _ = Path("scans/torn.png").write_bytes(Path("scans/good.png").read_bytes()[:50])
        >>> list(find_bad_images(open_source("scans", "train")))
        ['scans/torn.png']
    """
    return dict(_errors(source, framing, workers, progress).values())


def drop_bad_images(source, framing=(224, 224), *, workers=2, progress=None):
    """Reads every image of a source once, and leaves out those that cannot be read.

    For images to measure with, where none may be taken in the place of another.

    Args: as of `find_bad_images`.

    Returns:
        (the source of the images that can be read, {name: reason} of the others).

    Raises:
        ImageSourceError: as of `find_bad_images`.

    Examples:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from keras_convnextv2.data import drop_bad_images, open_source
        >>> Path("plates").mkdir()
        >>> Image.new("RGB", (40, 30)).save("plates/good.png")
        >>> _ = Path("plates/torn.png").write_bytes(Path("plates/good.png").read_bytes()[:50])
        >>> readable, bad = drop_bad_images(open_source("plates", "train"))
        >>> len(readable), list(bad)
        (1, ['plates/torn.png'])
    """
    errors = _errors(source, framing, workers, progress)
    if not errors:
        return source, {}
    kept = np.setdiff1d(np.arange(len(source)), list(errors))
    words = f"without {len(errors)} that cannot be read"
    return source.taken(kept, words), dict(errors.values())


def _errors(source, framing, workers, progress):
    """{index: (name, reason)} of the images that cannot be read."""
    framing = as_framing(framing)

    def error_at(index):
        try:
            source.read_one(index, framing, np.random.default_rng(index))
        except UnreadableImageError as error:
            return index, (error.name, error.reason)
        return None

    found, window = {}, _A_WINDOW * workers
    with ThreadPoolExecutor(workers) as threads:
        for start in range(0, len(source), window):
            stop = min(start + window, len(source))
            found.update(filter(None, threads.map(error_at, range(start, stop))))
            if progress is not None:
                progress(stop, len(source))
    return found


def check_images(source, framing=(224, 224), *, workers=2, progress=None):
    """Raises an error that names all images of a source that cannot be read, if there are any.

    Args: as of `find_bad_images`.

    Raises:
        ImageSourceError: one line, with the name of each and why.

    Examples:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from keras_convnextv2.data import check_images, open_source
        >>> Path("parts").mkdir()
        >>> Image.new("RGB", (40, 30)).save("parts/a.png")
        >>> check_images(open_source("parts", "train"), progress=print)
        1 1
    """
    bad = find_bad_images(source, framing, workers=workers, progress=progress)
    if bad:
        raise error_of(bad, len(source))
