"""What tells the images of a training from others, without reading all of them."""

import hashlib
import os

import numpy as np

from keras_convnextv2.data.image_source import spread
from keras_convnextv2.data.stored_bytes import open_bytes

NUM_SIZES, NUM_READ = 20_000, 100  # files whose size is looked at, and that are read
_MOST_BYTES = 1 << 20  # that are read of each
_MOST_IN_MEMORY = 1 << 26  # bytes of images that are in memory


def fingerprint(source):
    """Digests of the images of a source, which other images do not have.

    Names and labels are those of all images, names without the folder that all are in: a folder
    that was moved has the same. Of their contents the sizes of 20,000 files are looked at, and the
    beginnings of 100 are read, spread from first to last; of images in memory 64 MB are taken.

    Args:
        source: `ImageSource`.

    Returns:
        {"names": text, "labels": text, "contents": text}.
    """
    names = [source.name_of(place) for place in range(len(source))]
    names = [name.replace(os.sep, "/") for name in names]
    above = os.path.commonprefix([min(names), max(names)]).rpartition("/")[0]
    words = [*source.class_names, "", *(name[len(above) :] for name in names)]
    labels = [] if source.labels is None else [np.ascontiguousarray(source.labels).tobytes()]
    return {
        "names": _digest([os.fsencode("\0".join(words))]),
        "labels": _digest(labels),
        "contents": _digest(_contents(source)),
    }


def _digest(parts):
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _contents(source):
    stored = getattr(source, "stored", None)
    if stored is None:  # images in memory
        num_taken = max(_MOST_IN_MEMORY // max(source.records[0].nbytes, 1), 1)
        for place in spread(len(source), num_taken):
            yield np.ascontiguousarray(source.records[place]).tobytes()
        return
    if isinstance(source.records[0], str | os.PathLike):
        for place in spread(len(source), NUM_SIZES):
            yield b"%d " % _size(source.records[place])
    for place in spread(len(source), NUM_READ):
        yield _beginning(stored, source.records[place])


def _size(path):
    try:
        return os.stat(path).st_size
    except OSError:  # it will be missed when it is read
        return -1


def _beginning(stored, record):
    try:
        with open_bytes(stored(record)) as file:
            return file.read(_MOST_BYTES)
    except (OSError, ValueError):
        return b""
