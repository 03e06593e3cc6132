"""Other images have another fingerprint, one changed picture of many too."""

import os

import numpy as np
import pytest

from keras_convnextv2.data import fingerprint as fingerprints
from keras_convnextv2.data import open_source
from tests.runs.picture_training import write_picture

pytestmark = pytest.mark.one_backend

NUM_PICTURES = 150  # more than tell how many may be read


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    for number in range(NUM_PICTURES):
        write_picture(folder / "train" / "abc"[number % 3] / f"{number}.png", number, (4, 4))
    return folder


def fingerprint(folder):
    return fingerprints.fingerprint(open_source(folder, "train"))


def replace_bytes(path):
    """Other content of the same size, and the times of before."""
    times = os.stat(path)
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_each_of_many_files_may_be_the_one_that_was_replaced(folder):
    before = fingerprint(folder)
    for number in range(NUM_PICTURES):
        path = folder / "train" / "abc"[number % 3] / f"{number}.png"
        replace_bytes(path)
        assert fingerprints.changes(before, fingerprint(folder)) == ["contents"]
        replace_bytes(path)
    assert fingerprint(folder) == before


def test_of_more_than_it_may_read_it_reads_as_many_as_it_may(folder, monkeypatch):
    source = open_source(folder, "train")
    size = np.mean([os.path.getsize(path) for path in source.records])
    read = []
    real = fingerprints._beginning
    monkeypatch.setattr(
        fingerprints, "_beginning", lambda *args: read.append(args[1]) or real(*args)
    )
    for num_bytes, expected in ((int(120 * size), 120), (0, 100)):
        monkeypatch.setattr(fingerprints, "NUM_BYTES", num_bytes)
        read.clear()
        fingerprints.fingerprint(source)
        assert abs(len(set(read[100:])) - expected) <= 3  # after those that tell the sizes
    monkeypatch.setattr(fingerprints, "NUM_FILES", 7)
    monkeypatch.setattr(fingerprints, "_FIRST", 5)
    monkeypatch.setattr(fingerprints, "NUM_BYTES", 1 << 20)
    read.clear()
    fingerprints.fingerprint(source)
    assert len(set(read[5:])) == 7


def test_of_images_in_memory_each_counts(tmp_path):
    images = np.zeros((300, 4, 4, 3), "uint8")
    found = set()
    for place in (0, 151, 299):
        images[place] += 1
        np.savez(tmp_path / "train.npz", images=images, mean=[0.5] * 3, std=[0.25] * 3)
        found.add(fingerprint(tmp_path)["contents"])
    assert len(found) == 3


@pytest.mark.parametrize("saved", [None, [], "text", {}, {"other": 1}])
def test_what_was_not_saved_has_not_changed(saved):
    now = {"names": "a", "labels": "b", "contents": "c"}
    assert fingerprints.changes(saved, now) == []
    assert fingerprints.changes({**now, "labels": "x"}, now) == ["labels"]
