"""What tells the images of a training from others; of very many, without reading all of them."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from keras_convnextv2.data.image_source import spread
from keras_convnextv2.data.stored_bytes import open_bytes

NUM_FILES = 100_000  # whose size is looked at, and the most that are read
NUM_BYTES = 1 << 30  # that are read in all; of images in memory too
_OF_EACH = 1 << 20  # bytes that are read of a file
_FIRST = 100  # files that tell how many of their kind may be read; these are read in any case
_THREADS = 16  # to wait for a slow disk


def fingerprint(source):
    """Digests of the images of a source, which other images do not have.

    Names and labels are those of all images, names without the folder that all are in: a folder
    that was moved has the same. Of their contents the sizes of 100,000 files are looked at, and the
    first megabyte of each is read as far as this comes to no more than a gigabyte; of images in
    memory a gigabyte is taken. Where there are more, they are spread from first to last.

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


def changes(saved, now):
    """What differs between two fingerprints, a list of words; what one of them lacks does not.

    Args:
        saved: what `fingerprint` gave, or anything that a file held in its place.
        now: what it gives.
    """
    saved = saved if isinstance(saved, dict) else {}
    return [what for what in now if saved.get(what, now[what]) != now[what]]


def _contents(source):
    stored = getattr(source, "stored", None)
    records = source.records
    if stored is None:  # images in memory
        for place in spread(len(source), max(NUM_BYTES // max(records[0].nbytes, 1), 1)):
            yield np.ascontiguousarray(records[place]).tobytes()
        return
    if isinstance(records[0], str | os.PathLike):
        for place in spread(len(source), NUM_FILES):
            yield b"%d " % _size(records[place])

    def beginning(place):
        return _beginning(stored, records[place])

    first = sum(len(beginning(place)) for place in spread(len(source), _FIRST))
    num_read = NUM_BYTES * min(_FIRST, len(source)) // max(first, 1)
    places = spread(len(source), min(max(num_read, _FIRST), NUM_FILES))
    with ThreadPoolExecutor(_THREADS) as threads:
        for start in range(0, len(places), _FIRST):  # `map` would hold all of them
            yield from threads.map(beginning, places[start : start + _FIRST])


def _size(path):
    try:
        return os.stat(path).st_size
    except OSError:  # it will be missed when it is read
        return -1


def _beginning(stored, record):
    try:
        with open_bytes(stored(record)) as file:
            return file.read(_OF_EACH)
    except (OSError, ValueError):
        return b""
