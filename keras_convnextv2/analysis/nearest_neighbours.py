"""A vote of the nearest neighbours, by cosine: a probe that fits nothing."""

import numpy as np

from keras_convnextv2.analysis.probes import ProbeResult, accuracy, checked, num_classes_of

NUM_NEIGHBOURS = 20
TEMPERATURE = 0.07
_ROWS = 1024  # test images that are compared at once, to bound the memory


def neighbour_votes(train, labels, test, num_classes, k=NUM_NEIGHBOURS, temperature=TEMPERATURE):
    """The votes for each class: the sum of exp(s / temperature) over the k nearest neighbours.

    s is the cosine of the angle between two images' features, less that of the nearest, whose vote
    counts 1. Source: the weighted vote of arXiv 1805.01978, section 3.4, with DINO's k 20 and
    temperature .07.

    Args:
        train: (N, d) floats.
        labels: (N,) ints in 0..num_classes-1.
        test: (M, d) floats.
        num_classes: int.
        k: int; of fewer training images all vote.
        temperature: float.

    Returns:
        float64 (M, num_classes).

    Raises:
        ValueError: `k` is less than 1, or the temperature not positive.
    """
    if k < 1 or not temperature > 0:
        raise ValueError(
            "`k` must be 1 or more and `temperature` positive. Received: "
            f"k={k!r}, temperature={temperature!r}"
        )
    k = min(k, len(train))
    train, test = _unit_rows(train), _unit_rows(test)
    votes = np.zeros((len(test), num_classes))
    for start in range(0, len(test), _ROWS):
        cosines = test[start : start + _ROWS] @ train.T  # (rows, N)
        nearest = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        found = np.take_along_axis(cosines, nearest, axis=1)
        # At a small temperature exp(1 / temperature) is more than a float holds.
        weights = np.exp((found - found.max(axis=1, keepdims=True)) / temperature)
        rows = start + np.arange(len(cosines))[:, None]
        np.add.at(votes, (rows, labels[nearest]), weights)
    return votes


def knn_probe(train, test, k=NUM_NEIGHBOURS, temperature=TEMPERATURE):
    """The accuracy of `neighbour_votes`.

    Args:
        train: (features (N, d), labels (N,)).
        test: the same.
        k: int.
        temperature: float.

    Returns:
        `ProbeResult` with "accuracy".

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import knn_probe
        >>> features, labels = np.eye(2).repeat(3, axis=0), np.array([0, 0, 0, 1, 1, 1])
        >>> knn_probe((features, labels), (np.array([[3.0, 1.0]]), np.array([0])), k=3).mean()
        1.0
    """
    (x, y), (x_test, y_test) = checked(train, test)
    votes = neighbour_votes(x, y, x_test, num_classes_of(y, y_test), k, temperature)
    settings = {
        "k": min(k, len(x)),
        "temperature": temperature,
        "distance": "cosine",
        "train_images": len(x),
        "test_images": len(x_test),
    }
    return ProbeResult("knn", {"accuracy": (accuracy(votes.argmax(1), y_test),)}, settings)


def _unit_rows(features):
    """float32: a row of zeros stays one, and is at a right angle to all."""
    lengths = np.linalg.norm(features.astype("float64"), axis=1, keepdims=True)
    return (features / np.maximum(lengths, 1e-12)).astype("float32")
