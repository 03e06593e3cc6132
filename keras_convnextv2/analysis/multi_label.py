"""How well a classifier does on images that have several labels, or none."""

import numpy as np

from keras_convnextv2.analysis.classification import ClassScores
from keras_convnextv2.analysis.labels import checked_pair

THRESHOLD = 0.5  # a label is given above it


def multi_label_class_scores(probabilities, labels, threshold=THRESHOLD):
    """The `ClassScores` of labels that are given above a threshold.

    Args:
        probabilities: (N, K).
        labels: (N, K) of 0 and 1.
        threshold: float.

    Examples:
        >>> from keras_convnextv2.analysis import multi_label_class_scores
        >>> scores = multi_label_class_scores([[0.9, 0.2], [0.6, 0.7]], [[1, 1], [0, 1]])
        >>> scores.precision.tolist(), scores.recall.tolist(), round(scores.macro_f1, 4)
        ([0.5, 1.0], [1.0, 0.5], 0.6667)
    """
    probabilities, labels = _checked(probabilities, labels)
    given = probabilities > threshold
    return ClassScores.from_counts((given & labels).sum(0), labels.sum(0), given.sum(0))


def micro_f1(scores):
    """The F1 of all decisions of a `ClassScores` taken together; 0 where there are none.

    Examples:
        >>> from keras_convnextv2.analysis import micro_f1, multi_label_class_scores
        >>> micro_f1(multi_label_class_scores([[0.9, 0.2], [0.6, 0.7]], [[1, 1], [0, 1]]))
        0.6666666666666666
    """
    hits = np.rint(scores.recall * scores.support).sum()
    decisions = scores.support.sum() + scores.predicted.sum()
    return float(2 * hits / decisions) if decisions else 0.0


def average_precisions(probabilities, labels):
    """The average precision of each class: sum over thresholds of (R_n - R_{n-1}) P_n.

    Args:
        probabilities: (N, K).
        labels: (N, K) of 0 and 1.

    Returns:
        float64 (K,), NaN for a class that no image is of.

    Examples:
        >>> from keras_convnextv2.analysis import average_precisions
        >>> average_precisions([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]], [[1, 0], [0, 0], [1, 0]])
        array([0.83333333,        nan])
    """
    probabilities, labels = _checked(probabilities, labels)
    return np.array(
        [_average_precision(*pair) for pair in zip(probabilities.T, labels.T, strict=True)]
    )


def mean_average_precision(probabilities, labels):
    """The mean of `average_precisions` over the classes that occur; 0 where none does.

    Examples:
        >>> from keras_convnextv2.analysis import mean_average_precision
        >>> mean_average_precision([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]], [[1, 0], [0, 0], [1, 0]])
        0.8333333333333333
    """
    known = average_precisions(probabilities, labels)
    known = known[~np.isnan(known)]
    return float(known.mean()) if known.size else 0.0


def _average_precision(scores, labels):
    if not labels.any():
        return np.nan
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order])
    # Images of one score come together, so that their order says nothing.
    last = np.append(np.diff(scores[order]) != 0, True)
    precision = hits[last] / (np.flatnonzero(last) + 1)
    recall = hits[last] / labels.sum()
    return float(np.sum(np.diff(recall, prepend=0) * precision))


def _checked(probabilities, labels):
    probabilities, labels, several = checked_pair(probabilities, labels)
    if not several:
        raise ValueError(f"Labels must be (N, K), 0 or 1 each. Received: {labels.shape}")
    return probabilities, labels
