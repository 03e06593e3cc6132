"""The notebooks run from their first cell to their last, in a process of their own."""

import json

import pytest

from tests.reference.processes import ROOT, run_python

# The pages' blocks show on every backend what notebooks use of the library.
pytestmark = pytest.mark.one_backend

NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


def code_cells(path):
    cells = json.loads(path.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def named(path):
    return path.stem


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path):
    sources = ["".join(cell["source"]) for cell in code_cells(path)]
    program = tmp_path / "notebook.py"
    program.write_text("\n".join(["import os", f"os.chdir({str(tmp_path)!r})", *sources]))
    finished = run_python(program, NOTEBOOK_SIZE="small", TF_CPP_MIN_LOG_LEVEL="2")
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_a_notebook_keeps_no_outputs_which_would_go_stale(path):
    cells = code_cells(path)
    assert len(cells) > 5
    assert [cell for cell in cells if cell["outputs"] or cell["execution_count"]] == []
