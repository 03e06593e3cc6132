"""Layers, models and training by the plain operations of `layers/ops.py` alone.

All tests of layers, models and FCMAE pass so, too (`TESTS_FAST_PATHS=off`); here are a few of them.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import FAST_PATHS

ROOT = Path(__file__).parents[1]
TESTS = [
    "tests/fcmae/test_golden.py",
    "tests/fcmae/test_visible_path.py::test_loss_and_every_gradient_are_equal[image_shape0-0.6-1]",
]


@pytest.mark.slow
def test_they_give_the_same_numbers():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS],
        cwd=ROOT,
        env={**os.environ, FAST_PATHS: "off"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
