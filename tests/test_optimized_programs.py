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
    "tests/layers/test_regions.py::test_windows_give_what_the_map_gives[4-3-88-float32]",
    "tests/layers/test_regions.py::test_windows_give_what_the_map_gives[5-2-6-bfloat16]",
    "tests/fcmae/test_golden.py::test_three_adamw_steps_of_fit_lead_to_the_golden_weights",
]
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
# Of these XLA makes what it makes of others.
LEFT_OUT = "(equal_the_loops and (shape1 or shape2 or shape3)) or second_derivatives"

if keras.backend.backend() == "jax":

    @pytest.mark.slow
    def test_kernels_and_training_with_all_optimisations():
        environment = {name: text for name, text in os.environ.items() if name not in QUICKLY}
        done = subprocess.run(
            [*PYTEST, *TESTS, "-k", f"not ({LEFT_OUT})"],
            cwd=ROOT,
            env={**environment, AS_USERS_DO: "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-3000:]
