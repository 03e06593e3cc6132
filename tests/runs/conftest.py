import pytest

import keras_convnextv2 as kc
from tests.runs.small_training import fit, make_classifier


@pytest.fixture
def folder(tmp_path):
    """Of a training of three epochs of two batches."""
    fit(make_classifier(), kc.training.Checkpoints(tmp_path / "run", keep=9), epochs=3)
    return tmp_path / "run"
