"""Where examples run that write files."""

import pytest

from tests.reference.processes import ROOT


@pytest.fixture
def in_new_folder(tmp_path, monkeypatch):
    """An empty folder; what an export starts in it finds the package of this repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
