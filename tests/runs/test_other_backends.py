"""A training of one backend goes on with another."""

import pytest

from tests.reference import kill_training
from tests.reference.processes import run_python

pytestmark = pytest.mark.one_backend

PROGRAM = """
import sys
from pathlib import Path
from tests.reference.kill_training import train
train(Path(sys.argv[1]), Path(sys.argv[2]), epochs=2, last=1)
"""


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_a_training_goes_on_with_torch(tmp_path, backend):
    images = tmp_path / "images"
    images.mkdir()
    kill_training.write_images(images)
    (tmp_path / "straight").mkdir()
    (tmp_path / "other").mkdir()
    straight = kill_training.train(images, tmp_path / "straight", epochs=2).history
    outcome = run_python("-c", PROGRAM, images, tmp_path / "other", KERAS_BACKEND=backend)
    assert outcome.returncode == 0, outcome.stderr
    history = kill_training.train(images, tmp_path / "other", epochs=2)
    assert history.epoch == [1]
    for name in ("loss", "gradient_norm"):
        # Four steps of AdamW on rounding that differs.
        assert history.history[name] == pytest.approx(straight[name][1:], rel=1e-3), name
