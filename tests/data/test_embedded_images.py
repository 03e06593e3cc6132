from pathlib import Path

import numpy as np
import pytest

from keras_convnextv2.data import open_source

pytestmark = pytest.mark.one_backend

FOLDER = Path(__file__).parents[2] / "recipes" / "fashion_mnist"


def test_embedded_images_are_balanced_padded_and_normalised():
    train, test = open_source(FOLDER, "train"), open_source(FOLDER, "test")
    assert train.class_names == test.class_names
    assert len(train.class_names) == 10
    assert train.class_names[9] == "Ankle boot"
    assert np.bincount(train.labels).tolist() == [1000] * 10
    assert np.bincount(test.labels).tolist() == [200] * 10
    assert train.native_size == test.native_size == (32, 32)
    assert train.channels == test.channels == 1
    images = train.read(range(len(train)), (32, 32))
    border = np.ones((32, 32), bool)
    border[2:-2, 2:-2] = False
    assert not images[:, border].any()
    assert images[:, 2].any() and images[:, :, 2].any()
    pixels = images / 255.0
    # Both are stored as float32.
    np.testing.assert_allclose(train.mean, pixels.mean(), rtol=1e-6)
    np.testing.assert_allclose(train.std, pixels.std(), rtol=1e-6)
    assert (train.mean, train.std) == (test.mean, test.std)
