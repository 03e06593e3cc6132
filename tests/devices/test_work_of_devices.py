"""A batch that is spread over devices stays where it is: each computes its own part of it."""

import json

import keras
import numpy as np
import pytest

from tests.reference.processes import run_python

if keras.backend.backend() == "jax":

    @pytest.mark.slow
    def test_work_is_shared_between_devices_which_send_gradients_alone():
        done = run_python("-m", "tests.reference.work_of_devices")
        assert done.returncode == 0, done.stderr[-3000:]
        found = json.loads(done.stdout.splitlines()[-1])
        one = found.pop("1")
        assert one["all_reduce_bytes"] == one["moved_bytes"] == 0
        assert list(found) == ["2", "4", "8"]
        gradients = 4 * one["parameters"]
        for num_devices, of_each in found.items():
            assert 1 <= int(num_devices) * of_each["flops"] / one["flops"] <= 1.05
            assert of_each["moved_bytes"] == 0
            # With two numbers of the loss, and those by which fast paths order XLA's loops.
            assert gradients <= of_each["all_reduce_bytes"] <= gradients + 100
            # float32 sums in another order
            for name in ("losses", "gradient_norms"):
                np.testing.assert_allclose(of_each[name], one[name], rtol=1e-5)
