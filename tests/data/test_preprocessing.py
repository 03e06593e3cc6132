import numpy as np
import pytest

from keras_convnextv2.data import preprocess

pytestmark = pytest.mark.one_backend


def test_preprocess_normalises_each_channel():
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3)).astype("uint8")
    normalised = preprocess(images)
    # Of ImageNet, as the official code and timm have it.
    expected = (images / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert normalised.dtype == "float32"
    # Values reach 2.6, of which float32 keeps 7 digits.
    np.testing.assert_allclose(normalised, expected, atol=1e-6)


def test_preprocess_takes_one_image_and_any_number_of_channels():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 2)).astype("uint8")
    normalised = preprocess(image, mean=(0.5, 0.25), std=(0.5, 0.125))
    expected = (image / 255.0 - np.array([0.5, 0.25])) / np.array([0.5, 0.125])
    np.testing.assert_allclose(normalised, expected, atol=1e-6)  # float32, values up to 6


def test_preprocess_refuses_floats_as_already_normalised():
    with pytest.raises(ValueError, match="Received: float32. Floats are taken as already norm"):
        preprocess(np.zeros((2, 5, 7, 3), "float32"))


@pytest.mark.parametrize("shape", [(2, 5, 7, 1), (5, 3)])
def test_preprocess_refuses_another_number_of_channels(shape):
    with pytest.raises(ValueError, match="one mean and one std a channel. Received: shape"):
        preprocess(np.zeros(shape, "uint8"))
