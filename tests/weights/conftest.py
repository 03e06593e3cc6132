"""What several tests of weights share."""

import numpy as np
import pytest

from tests.reference.small_files import small_classifier


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Bytes of a small classifier's files, by the name Keras asks for."""
    folder = tmp_path_factory.mktemp("saved")
    classifier = small_classifier(np.random.default_rng(0))
    classifier.save(folder / "model.keras")
    classifier.save_weights(folder / "model.weights.h5")
    return {path.name: path.read_bytes() for path in folder.iterdir()}
