"""A training on several devices gives the numbers of one, for the same batches."""

import os

import keras
import numpy as np
import pytest

from keras_convnextv2.training import distribution
from tests.reference import many_devices
from tests.reference.processes import run_python
from tests.reference.processes_of_a_training import start

PROGRAM = "tests.reference.many_devices"
KINDS = ["visible", "classifier"]
# In torch two devices are two processes. On JAX and TensorFlow a process has its share as a device
# has, and compiles for itself: there one kind shows it.
ON_TORCH = keras.backend.backend() == "torch"
WAYS = {"processes": KINDS} if ON_TORCH else {"2": KINDS, "processes": ["visible"]}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 13)):
        np.savez(
            folder / f"{split}.npz",
            images=rng.integers(0, 256, (count, 16, 24, 3), "uint8"),
            labels=np.arange(count) % 4,
            class_names=list("abcd"),
            mean=[0.5] * 3,
            std=[0.25] * 3,
        )
    return folder


def run(images, kinds, way, output):
    words = [PROGRAM, str(images), str(output), ",".join(kinds), way]
    if way != "processes":
        of_tests = os.environ.get("XLA_FLAGS", "")
        flags = f"{of_tests} --xla_force_host_platform_device_count={way}"
        done = run_python("-m", *words, XLA_FLAGS=flags)
        assert done.returncode == 0, done.stderr[-3000:]
    else:
        processes = start(words, 2)
        told = [process.communicate() for process in processes]
        assert [p.returncode for p in processes] == [0, 0], "\n".join(t[1][-2000:] for t in told)
    return dict(np.load(output))


@pytest.mark.slow
def test_two_devices_get_the_numbers_of_one(images, tmp_path):
    keras.utils.set_random_seed(0)
    expected = many_devices.run(images, KINDS)
    assert distribution.devices().count == 1
    assert distribution.gathered_rows(np.full((2, 3), 1 / 3)).shape == (2, 3)
    assert expected["visible/loss"] > 0.5 and expected["classifier/gradient_norm"] > 0.1
    for way, kinds in WAYS.items():
        found = run(images, kinds, way, tmp_path / f"{way}.npz")
        assert found.pop("devices") == 2
        processes = [0, 0, 1, 1, 1] if way == "processes" else [0, 0]
        np.testing.assert_array_equal(found.pop("rows"), np.add.outer(processes, [1 / 3] * 3))
        assert found.keys() == {name for name in expected if name.startswith(tuple(kinds))}
        for name, value in found.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-5, err_msg=name)
