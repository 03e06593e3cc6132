"""What the package writes is there whole or not at all, whatever the disk does."""

import errno
import json
import os
import signal
import sys

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.analysis import Features, feature_cache
from keras_convnextv2.whole_files import make_folders, whole_file, whole_folder
from tests.reference.faulty_disk import ERRORS, FaultyDisk
from tests.reference.processes import run_python

pytestmark = pytest.mark.one_backend


def make_backbone(value):
    backbone = kc.ConvNeXtV2Backbone(kc.Variant((1, 1, 1, 1), (4, 4, 8, 8)), (32, 32, 3))
    backbone.set_weights([np.full(weight.shape, value) for weight in backbone.weights])
    return backbone


def loaded_backbone(path):
    backbone = make_backbone(0)
    kc.load_weights(backbone, path)
    return backbone.get_weights()[0].ravel()[0]


def loaded_keras(path):
    return keras.saving.load_model(path).get_weights()[0].ravel()[0]


def write_text(value, path):
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps([value] * 5000))


def write_folder(value, path, replace=False):
    with whole_folder(path, replace) as unfinished:
        for name in ("first", "second"):
            (unfinished / name).write_text(str(value) * 9)


def write_features(value, path):
    feature_cache._write(path, Features(np.full((9, 3), value, "float32"), None, "same"))


KINDS = {
    "text": ("words.json", write_text, lambda path: json.loads(path.read_text())[-1]),
    "safetensors": (
        "model.safetensors",
        lambda value, path: kc.save_weights(make_backbone(value), path),
        loaded_backbone,
    ),
    "torch": (
        "model.pth",
        lambda value, path: kc.save_weights(make_backbone(value), path, "official"),
        loaded_backbone,
    ),
    "keras": (
        "model.keras",
        lambda value, path: kc.save_weights(make_backbone(value), path),
        loaded_keras,
    ),
    "features": (
        "cache.npz",
        write_features,
        lambda path: feature_cache._read(path, "same").features[-1, -1],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_failing_disk_leaves_the_file_before_or_the_new_one(tmp_path, monkeypatch, kind):
    name, write, read = KINDS[kind]
    path = tmp_path / name
    write(1, path)
    with FaultyDisk().in_use(monkeypatch) as disk:
        write(2, path)
    assert read(path) == 2
    kinds_asked = {operation.split()[0] for operation in disk.operations}
    assert kinds_asked == {"open", "write", "fsync", "replace"}
    last = len(disk.operations) - 1
    for place in sorted(
        {*np.linspace(0, last, 12).astype(int), *range(max(last - 6, 0), last + 1)}
    ):
        write(1, path)
        number = ERRORS[place % len(ERRORS)]
        faulty = FaultyDisk(place, number, once=bool(place % 2))
        with faulty.in_use(monkeypatch), pytest.raises(OSError) as caught:
            write(2, path)
        assert caught.value.errno == number, faulty.operations[place]
        # The folder's own sync comes after the rename: the file is new then, and whole.
        renamed = "replace" in faulty.operations[:place]
        assert read(path) == (2 if renamed else 1), faulty.operations[place]
        assert list(tmp_path.iterdir()) == [path]


def test_a_failing_disk_leaves_a_whole_folder_or_none(tmp_path, monkeypatch):
    with FaultyDisk().in_use(monkeypatch) as disk:
        write_folder(1, tmp_path / "first")
    # Two files, their folder and the folder above are brought to the disk.
    assert disk.operations.count("fsync") == 4
    for place in range(len(disk.operations)):
        path = tmp_path / str(place)
        faulty = FaultyDisk(place, errno.EIO)
        with faulty.in_use(monkeypatch), pytest.raises(OSError, match="Input/output"):
            write_folder(1, path)
        renamed = "replace" in faulty.operations[:place]
        assert path.exists() == renamed
        if renamed:
            assert [file.read_text() for file in sorted(path.iterdir())] == ["1" * 9] * 2
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("unfinished")]


def test_files_are_on_the_disk_before_they_have_their_name(tmp_path, monkeypatch):
    with FaultyDisk().in_use(monkeypatch) as disk:
        write_text(1, tmp_path / "words.json")
    asked = [operation.split()[0] for operation in disk.operations]
    assert asked[-3:] == ["fsync", "replace", "fsync"]
    assert "fsync" not in asked[:-3]


def test_a_whole_folder_replaces_none(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "kept").write_text("before")
    with pytest.raises(OSError):
        write_folder(1, tmp_path / "run")
    assert (tmp_path / "run" / "kept").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_failing_disk_leaves_the_folder_before_whole(tmp_path, monkeypatch):
    write_folder(1, tmp_path / "run")
    with FaultyDisk().in_use(monkeypatch) as disk:
        write_folder(2, tmp_path / "run", replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    first, second = (n for n, name in enumerate(disk.operations) if name.startswith("replace"))
    for place in range(len(disk.operations)):
        for once in (True, False):
            parent = tmp_path / f"{place}-{once}"
            parent.mkdir()
            write_folder(1, parent / "run")
            faulty = FaultyDisk(place, errno.EIO, once)
            with faulty.in_use(monkeypatch), pytest.raises(OSError, match="Input/output"):
                write_folder(2, parent / "run", replace=True)
            # Only where nothing can be renamed any more the folder keeps its other name.
            (left,) = [path for path in parent.iterdir() if path.name.endswith("run")][:1]
            assert (left.name != "run") == (place == second and not once)
            texts = {file.read_text() for file in left.iterdir()}
            assert texts == {("2" if place > second else "1") * 9} and len(os.listdir(left)) == 2
    assert first < second


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_program_leaves_the_file_before(tmp_path):
    path = tmp_path / "words.json"
    write_text(1, path)
    code = (
        "import os, pathlib, signal\n"
        "from keras_convnextv2.whole_files import whole_file\n"
        f"with whole_file({str(path)!r}) as unfinished:\n"
        "    unfinished.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert run_python("-c", code).returncode == -signal.SIGKILL
    assert json.loads(path.read_text())[-1] == 1
    (left,) = set(tmp_path.iterdir()) - {path}
    assert left.name.startswith("unfinished.") and os.path.getsize(left) <= 4


@pytest.mark.parametrize("write", [write_text, write_folder, lambda _, path: make_folders(path)])
def test_names_of_new_folders_are_brought_to_the_disk(tmp_path, monkeypatch, write):
    synced, opened = [], {}
    real_open, real_fsync = os.open, os.fsync

    def remember(path, *args, **kwargs):
        number = real_open(path, *args, **kwargs)
        opened[number] = str(path)
        return number

    monkeypatch.setattr(os, "open", remember)
    monkeypatch.setattr(
        os, "fsync", lambda number: synced.append(opened[number]) or real_fsync(number)
    )
    write(1, tmp_path / "runs" / "mine" / "kept")
    # A name is in the folder above it.
    assert synced[:2] == [str(tmp_path), str(tmp_path / "runs")]
    synced.clear()
    make_folders(tmp_path / "runs" / "mine")
    assert not synced
