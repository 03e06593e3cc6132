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


@pytest.fixture
def stop(tmp_path, no_hang):
    """Trains until a transform raises `error`; gives the batches, whose transform is whole again,
    and what `fit` raised."""

    def stop(error):
        fails = threading.Event()

        def fail(image, rng):
            if fails.is_set():
                raise error
            return image

        batches = make_batches(write_pictures(tmp_path / "pictures"), transforms=[fail])
        with pytest.raises(Exception) as caught:
            fit(batches, tmp_path / "run", AtStep(2, fails.set))
        fails.clear()
        return batches, caught.value

    return stop


@pytest.mark.parametrize(
    "kind",
    [
        *(pytest.param(kind, marks=pytest.mark.one_backend) for kind in (MemoryError, OSError)),
        Broken,
    ],
)
def test_a_thread_that_fails_ends_the_training_with_its_error(tmp_path, stop, kind):
    error = kind("a word of its own")
    batches, raised = stop(error)
    assert batches.error is error and "a word of its own" in str(raised)
    assert kc.runs.newest_checkpoint(tmp_path / "run").name >= "step-00000002"


@pytest.mark.one_backend
def test_the_folder_is_free_again_and_what_was_saved_is_gone_on_from(tmp_path, stop):
    batches, _ = stop(Broken())
    found = values_of(fit(batches, tmp_path / "run"))
    undisturbed = make_batches(tmp_path / "pictures")
    for value, other in zip(found, values_of(fit(undisturbed, tmp_path / "other")), strict=True):
        np.testing.assert_array_equal(value, other)
