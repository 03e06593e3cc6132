import importlib.metadata
import json
import os
import shutil
import subprocess
import sys

import keras
import pytest

from recipes import run_record
from tests.reference.processes import ROOT

pytestmark = pytest.mark.one_backend


def test_the_record_says_what_a_new_start_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pretrain", "--epochs=2", "--data_dir=my pictures"])
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    settings = {"epochs": 2, "learning_rate": 1e-3, "widths": ["4", "6"], "data_dir": None}
    path = run_record.write_run_record(tmp_path, settings, seed=7)
    assert path == tmp_path / "run.json" and os.listdir(tmp_path) == ["run.json"]
    record = json.loads(path.read_text())
    assert record["command"]["flags"] == ["--epochs=2", "--data_dir=my pictures"]
    assert record["command"]["folder"] == os.getcwd()
    assert record["command"]["environment"]["KERAS_BACKEND"] == keras.backend.backend()
    assert record["settings"] == settings and record["seed"] == 7
    assert record["backend"] == keras.backend.backend() and record["device"]
    for name in ("keras", "numpy", keras.backend.backend()):
        assert record["versions"][name] == importlib.metadata.version(name)
    assert record["machine"]["cpus"] == os.cpu_count() and record["machine"]["cpu"].strip()
    assert record["versions"]["python"] == sys.version.split()[0]
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    if head.returncode == 0:
        assert record["git"]["commit"] == head.stdout.strip()


def git(folder, *words):
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", folder, *words],
        check=True,
        capture_output=True,
    )


def test_the_commit_is_that_of_the_code_and_says_whether_it_was_changed(tmp_path):
    assert run_record._git(tmp_path) is None
    git(tmp_path, "init")
    (tmp_path / "other.py").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    assert run_record._git(tmp_path) is None  # somebody else's clone, which holds an environment
    shutil.copy(run_record.__file__, tmp_path / "run_record.py")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "two")
    clean = run_record._git(tmp_path)
    assert len(clean["commit"]) == 40 and clean["changed"] is False
    (tmp_path / "other.py").write_text("changed")
    assert run_record._git(tmp_path) == {**clean, "changed": True}
