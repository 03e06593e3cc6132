"""What every transform promises: the same from the same draws, its input left, and it travels."""

import pickle

import numpy as np
import pytest

from keras_convnextv2.data import (
    ColourJitter,
    HorizontalFlip,
    Mixing,
    QuarterTurns,
    RandAugment,
    RandomErasing,
    RandomShift,
    VerticalFlip,
)

pytestmark = pytest.mark.one_backend

OF_BYTES = (
    HorizontalFlip(),
    VerticalFlip(),
    QuarterTurns(),
    RandomShift(3),
    ColourJitter(0.4, 0.4, 0.4, 0.1),
    RandAugment("rand-m9-mstd0.5-inc1"),
)


def random_image():
    return np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype("uint8")


def normalised_image():
    return np.random.default_rng(0).standard_normal((16, 16, 3)).astype("float32")


@pytest.mark.parametrize("transform", (*OF_BYTES, RandomErasing(0.5)), ids=repr)
def test_an_image_follows_from_the_generator_alone(transform):
    image = normalised_image() if isinstance(transform, RandomErasing) else random_image()
    before = image.copy()
    results = [transform(image, np.random.default_rng([4, seed])) for seed in range(30)]
    copied = pickle.loads(pickle.dumps(transform))
    assert copied == transform
    for seed, result in enumerate(results):
        again = copied(image, np.random.default_rng([4, seed]))
        np.testing.assert_array_equal(result, again)
        assert (result.shape, result.dtype) == (image.shape, image.dtype)
        assert result.flags.c_contiguous
    assert len({result.tobytes() for result in results}) > 1
    np.testing.assert_array_equal(image, before)


def test_a_batch_follows_from_the_generator_alone():
    images = np.stack([normalised_image(), 2 * normalised_image(), -normalised_image()])
    labels = np.eye(3, dtype="float32")
    before = images.copy(), labels.copy()
    mix = Mixing(0.8, 1.0)
    copied = pickle.loads(pickle.dumps(mix))
    results = []
    for seed in range(20):
        mixed, shares = mix(images, labels, np.random.default_rng(seed))
        again = copied(images, labels, np.random.default_rng(seed))
        np.testing.assert_array_equal(mixed, again[0])
        np.testing.assert_array_equal(shares, again[1])
        assert mixed.dtype == shares.dtype == "float32"
        results.append(mixed.tobytes())
    assert len(set(results)) == 20
    np.testing.assert_array_equal(images, before[0])
    np.testing.assert_array_equal(labels, before[1])
