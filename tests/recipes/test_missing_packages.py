"""A package that is not installed is one line, not a traceback."""

import keras
import pytest

from tests.reference.processes import run_python


def run_without(package, tmp_path, name="evaluate"):
    """Runs a recipe where importing `package` fails as where it is not installed."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] == {package!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hide())\n"
    )
    weights = f"--weights={tmp_path / 'model.keras'}"
    return run_python("-m", f"recipes.{name}", weights, PYTHONPATH=str(tmp_path))


def test_a_backend_that_is_not_installed(tmp_path):
    backend = keras.backend.backend()
    done = run_without(backend, tmp_path)
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("evaluate: error: ")
    assert f"the backend {backend} " in line and f"pip install -e '.[{backend}]'" in line
    others = {"tensorflow", "jax", "torch"} - {backend}
    assert any(f"KERAS_BACKEND={other}" in line for other in others)


@pytest.mark.one_backend
def test_a_package_that_is_ours_still_shows_where_it_is_missed(tmp_path):
    done = run_without("numpy", tmp_path)
    assert done.returncode != 0
    assert "Traceback" in done.stderr and "numpy" in done.stderr


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["theano", "TensorFlow2"])
def test_a_backend_that_does_not_exist(tmp_path, monkeypatch, name):
    monkeypatch.setenv("KERAS_BACKEND", name)
    done = run_without("nothing", tmp_path)
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("evaluate: error: ") and name in line
