"""Damaged inputs of each kind are taken or refused, in little memory, and nothing else happens.

docs/runs.md has the report of thousands of each.
"""

import json

import pytest

from tests.reference.processes import run_python

pytestmark = pytest.mark.one_backend

# A file of a picture or a table takes milliseconds, a checkpoint a training.
NUM_FILES = {
    **dict.fromkeys(("jpeg", "png", "webp", "gif", "tiff", "newer"), 40),
    **dict.fromkeys(("csv", "json lines", "npz", "packed", "tfds"), 40),
    **dict.fromkeys(("flags", "run"), 40),
    "checkpoint": 15,
}


def test_damaged_inputs_are_taken_or_refused(tmp_path):
    words = [f"{kind}={number}" for kind, number in NUM_FILES.items()]
    done = run_python("-m", "tests.reference.fuzz_inputs", tmp_path, "2026-11-30", *words)
    assert done.returncode == 0, f"died of {done.returncode}: {said(tmp_path)}"
    found = json.loads(done.stdout)
    assert found["failures"] == []
    for kind, (taken, refused, _) in found["counts"].items():
        assert taken + refused == NUM_FILES[kind] and refused > NUM_FILES[kind] / 4, kind
    assert sum(taken for taken, _, _ in found["counts"].values()) > 30


def said(folder):
    return "".join(path.read_text(errors="replace")[-2000:] for path in folder.glob("stderr-*"))
