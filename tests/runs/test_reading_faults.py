"""A thread that reads images and fails: the training ends with its error, and does not wait."""

import faulthandler
import threading

import numpy as np
import pytest

import keras_convnextv2 as kc
from tests.runs.picture_training import (
    AtStep,
    fit,
    make_batches,
    values_of,
    write_pictures,
)


class Broken(Exception):
    """Of a user's own transform."""


@pytest.fixture
def no_hang():
    faulthandler.dump_traceback_later(120, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """What a training ends with that nothing disturbs."""
    folder = tmp_path_factory.mktemp("straight")
    return values_of(fit(make_batches(write_pictures(folder / "pictures")), folder / "run"))


@pytest.mark.parametrize(
    "kind",
    [
        *(pytest.param(kind, marks=pytest.mark.one_backend) for kind in (MemoryError, OSError)),
        Broken,
    ],
)
def test_a_thread_that_fails_ends_the_training_with_its_error(tmp_path, no_hang, straight, kind):
    pictures = write_pictures(tmp_path / "pictures")
    error, fails = kind("a word of its own"), threading.Event()

    def fail(image, rng):
        if fails.is_set():
            raise error
        return image

    batches = make_batches(pictures, transforms=[fail])
    with pytest.raises(Exception) as caught:
        fit(batches, tmp_path / "run", AtStep(2, fails.set))
    assert batches.error is error and "a word of its own" in str(caught.value)
    assert kc.runs.newest_checkpoint(tmp_path / "run").name >= "step-00000002"
    fails.clear()
    # The folder is free again, and what was saved is gone on from.
    found = values_of(fit(make_batches(pictures, transforms=[fail]), tmp_path / "run"))
    for value, other in zip(found, straight, strict=True):
        np.testing.assert_array_equal(value, other)
