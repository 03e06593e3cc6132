import math

import numpy as np
import pytest

from keras_convnextv2.analysis import nearest_neighbours
from keras_convnextv2.analysis.nearest_neighbours import knn_probe, neighbour_votes

pytestmark = pytest.mark.one_backend


def by_loops(train, labels, test, num_classes, k, temperature):
    votes = []
    for image in test.tolist():
        cosines = []
        for other, label in zip(train.tolist(), labels.tolist(), strict=True):
            dot = sum(a * b for a, b in zip(image, other, strict=True))
            lengths = math.sqrt(sum(a * a for a in image)) * math.sqrt(sum(b * b for b in other))
            cosines.append((dot / lengths, label))
        of_classes = [0.0] * num_classes
        nearest = sorted(cosines, reverse=True)[:k]
        for cosine, label in nearest:
            of_classes[label] += math.exp((cosine - nearest[0][0]) / temperature)
        votes.append(of_classes)
    return np.array(votes)


@pytest.mark.parametrize("k", [1, 5, 20, 100])
def test_the_votes_are_those_of_loops(rng, monkeypatch, k):
    monkeypatch.setattr(nearest_neighbours, "_ROWS", 4)  # 11 test images: three parts
    train, test = rng.normal(1.0, 2.0, (30, 6)), rng.normal(1.0, 2.0, (11, 6))
    labels = rng.integers(0, 3, 30)
    expected = by_loops(train, labels, test, 3, k, 0.07)
    votes = neighbour_votes(train, labels, test, 3, k, 0.07)
    # Cosines are float32, of error 1e-7, and are divided by .07.
    np.testing.assert_allclose(votes, expected, rtol=1e-5)
    predicted = knn_probe((train, labels), (test, labels[:11]), k, 0.07)
    assert predicted.mean() == np.mean(expected.argmax(axis=1) == labels[:11])
    assert predicted.settings["k"] == min(k, 30)


def test_a_small_temperature_is_no_overflow(rng):
    train, test = rng.normal(10.0, 1.0, (30, 6)), rng.normal(10.0, 1.0, (11, 6))
    labels = rng.integers(0, 3, 30)
    expected = by_loops(train, labels, test, 3, 20, 0.001)
    votes = neighbour_votes(train, labels, test, 3, 20, 0.001)
    np.testing.assert_allclose(votes, expected, rtol=1e-3, atol=1e-6)


def test_lengths_of_features_mean_nothing(rng):
    train, test = rng.normal(size=(30, 6)), rng.normal(size=(5, 6))
    labels = rng.integers(0, 3, 30)
    longer = train * rng.uniform(0.1, 50, (30, 1)), labels
    votes = neighbour_votes(*longer, test * 7, 3)
    np.testing.assert_allclose(votes, neighbour_votes(train, labels, test, 3), rtol=1e-5)


def test_an_image_without_features_is_no_nan(rng):
    votes = neighbour_votes(np.zeros((4, 3)), np.array([0, 1, 1, 1]), np.ones((1, 3)), 2)
    np.testing.assert_array_equal(votes, [[1.0, 3.0]])  # exp(0) each


def test_values_that_are_refused():
    pair = np.eye(2), np.array([0, 1])
    with pytest.raises(ValueError, match="k=0"):
        knn_probe(pair, pair, k=0)
    with pytest.raises(ValueError, match=r"temperature=0\.0"):
        knn_probe(pair, pair, temperature=0.0)
