"""Tests of kernels and of training, with JAX's programs compiled as users have them.

The rest of the suite has them compiled quickly, with fewer of XLA's optimisations.
"""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from tests.conftest import AS_USERS_DO

ROOT = Path(__file__).parents[1]
QUICKLY = ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS")
TESTS = [
    "tests/layers/test_depthwise.py",
    "tests/layers/test_recomputed_after.py",
    "tests/layers/test_regions.py",
    "tests/fcmae/test_golden.py",
    "tests/fcmae/test_visible_path.py::test_three_steps_of_training_are_equal",
]
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
# Of these XLA makes what it makes of others.
SMALL_SHAPES = "equal_the_loops and (shape1 or shape2 or shape3)"

if keras.backend.backend() == "jax":

    @pytest.mark.slow
    def test_kernels_and_training_with_all_optimisations():
        environment = {name: text for name, text in os.environ.items() if name not in QUICKLY}
        done = subprocess.run(
            [*PYTEST, *TESTS, "-k", f"not ({SMALL_SHAPES})"],
            cwd=ROOT,
            env={**environment, AS_USERS_DO: "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-3000:]
