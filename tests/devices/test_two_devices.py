"""A batch that is spread over devices stays where it is: each computes its own part of it."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]

if keras.backend.backend() == "jax":

    @pytest.mark.slow
    def test_each_of_two_devices_computes_half_of_a_visible_step():
        done = subprocess.run(
            [sys.executable, "-m", "tests.reference.two_devices"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found = json.loads(done.stdout.splitlines()[-1])
        one, two = found["flops"]
        assert two <= 0.55 * one
        assert found["moves"] == 0
        np.testing.assert_allclose(*found["losses"], rtol=1e-5)  # float32 sums in another order
