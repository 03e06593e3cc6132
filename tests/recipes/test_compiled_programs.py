"""Where JAX is told to keep compiled programs; that it does is in test_quiet_logs.py."""

import importlib.metadata
import os
import sys
import types
from pathlib import Path

import pytest

from recipes import compiled_programs

pytestmark = pytest.mark.one_backend

VARIABLE = compiled_programs.VARIABLE


@pytest.fixture
def keep(monkeypatch, tmp_path):
    """Calls `keep` with a flag's value, in a home of its own: the variable afterwards."""
    monkeypatch.setenv(VARIABLE, "set for monkeypatch to restore")
    monkeypatch.delenv(VARIABLE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.10.2")  # of jaxlib

    def call(flag):
        monkeypatch.setattr(compiled_programs, "FLAGS", types.SimpleNamespace(jax_cache_dir=flag))
        compiled_programs.keep()
        return os.environ.get(VARIABLE)

    return call


def test_the_default_is_in_the_user_s_cache_folder(keep, tmp_path, monkeypatch):
    for platform, folder in (
        ("linux", ".cache"),
        ("darwin", "Library/Caches"),
        ("win32", "AppData/Local"),
    ):
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.delenv(VARIABLE, raising=False)
        assert Path(keep(None)).parent == tmp_path / folder / "keras_convnextv2" / "jax"
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.delenv(VARIABLE)
    assert Path(keep(None)).parent == tmp_path / "elsewhere" / "keras_convnextv2" / "jax"
    assert not list(tmp_path.iterdir())  # JAX makes it when there is something to keep


def test_the_variable_is_kept_and_the_flag_is_above_it(keep, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "of the user")
    assert keep(None) == "of the user"
    assert keep(str(tmp_path)) == str(tmp_path)
    assert keep("") is None


def test_a_file_is_no_folder(keep, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="--jax_cache_dir: .*file is a file. Name a folder."):
        keep(str(tmp_path / "file"))


def test_each_kind_of_processor_has_a_folder_of_its_own(keep, monkeypatch):
    folders = []
    for abilities in ("avx2 avx512f", "avx2 avx512f", "avx2"):
        text = f"model name\t: A\nflags\t\t: {abilities}\ncpu MHz\t\t: {len(folders)}\n"
        monkeypatch.setattr(Path, "read_text", lambda path, text=text: text)
        monkeypatch.delenv(VARIABLE, raising=False)
        folders.append(keep(None))
    assert folders[0] == folders[1] != folders[2]


@pytest.mark.parametrize("version", ["0.9.2", None])
def test_an_early_jaxlib_keeps_nothing_unasked(keep, tmp_path, monkeypatch, version):
    def ask(name):
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", ask)
    assert keep(None) is None
    assert keep(str(tmp_path)) == str(tmp_path)


def test_where_nothing_can_be_written_nothing_is_kept(keep, tmp_path):
    (tmp_path / ".cache").touch()  # no folder can be made in it, by root either
    assert keep(None) is None


@pytest.mark.parametrize("problem", [PermissionError("not for you"), RuntimeError("no home")])
def test_without_a_home_nothing_is_kept(keep, monkeypatch, problem):
    def fail():
        raise problem

    monkeypatch.setattr(Path, "home", fail)
    assert keep(None) is None


def test_what_was_not_used_for_longest_is_deleted(keep, tmp_path, monkeypatch):
    monkeypatch.setattr(compiled_programs, "_MOST_BYTES", 250)
    folder = Path(keep(None))
    folder.mkdir(parents=True)
    monkeypatch.delenv(VARIABLE)
    for number, name in enumerate(("c", "a", "d", "b")):
        path = folder / f"jit_{name}-cache"
        path.write_bytes(bytes(100))
        os.utime(path, (1000 + number, 5000 - number))  # used, written
    (folder / "notes.txt").write_bytes(bytes(1000))
    keep(None)
    assert sorted(path.name for path in folder.iterdir()) == [
        "jit_b-cache",
        "jit_d-cache",
        "notes.txt",
    ]
