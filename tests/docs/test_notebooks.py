"""The notebooks run from their first cell to their last, in a process of their own."""

import json

import pytest

from tests.reference.processes import ROOT, run_python

# The pages' blocks show on every backend what notebooks use of the library.
pytestmark = pytest.mark.one_backend

NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
# What has to be true when the last cell has run.
LEARNED = {
    "official_weights_to_a_phone": "accuracy > 0.8 and same.mean() > 0.9",
    "your_own_folder": "pretraining.history['loss'][-1] < pretraining.history['loss'][0]",
}


def code_cells(path):
    cells = json.loads(path.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def named(path):
    return path.stem


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path):
    sources = ["".join(cell["source"]) for cell in code_cells(path)]
    program = tmp_path / "notebook.py"
    setting_out = f"import os\nos.chdir({str(tmp_path)!r})"
    program.write_text("\n".join([setting_out, *sources, f"assert {LEARNED[path.stem]}"]))
    finished = run_python(program, NOTEBOOK_SIZE="small", TF_CPP_MIN_LOG_LEVEL="2")
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_a_notebook_keeps_no_outputs_which_would_go_stale(path):
    cells = code_cells(path)
    assert len(cells) > 5
    assert [cell for cell in cells if cell["outputs"] or cell["execution_count"]] == []
