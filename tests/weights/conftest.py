"""What several tests of weights share."""

import numpy as np
import pytest
import safetensors.numpy

from tests.reference.layouts import custom_layout, random_checkpoint
from tests.reference.small_files import small_classifier


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Bytes of a small classifier's files, by the name Keras asks for."""
    folder = tmp_path_factory.mktemp("saved")
    classifier = small_classifier(np.random.default_rng(0))
    classifier.save(folder / "model.keras")
    classifier.save_weights(folder / "model.weights.h5")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def checkpoint(rng):
    """{key: array} of a small classifier of the official code."""
    return random_checkpoint(custom_layout("official", (1, 1, 2, 1), (4, 6, 8, 12)), rng)


@pytest.fixture
def save(tmp_path):
    """Saves a checkpoint to a safetensors file; gives its path."""

    def save(checkpoint):
        safetensors.numpy.save_file(checkpoint, tmp_path / "file.safetensors")
        return tmp_path / "file.safetensors"

    return save
