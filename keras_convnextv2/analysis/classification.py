"""How well a classifier tells classes apart, from the probabilities it gives to labelled images.

All in NumPy, on (N, K) arrays: images are not needed any more. Equal to scikit-learn's figures.
"""

import dataclasses

import numpy as np

from keras_convnextv2.analysis.labels import checked_pair


@dataclasses.dataclass(frozen=True, eq=False)
class ClassScores:
    """What is said of each of K classes; a share of nothing is 0.

    Attributes:
        precision: (K,), of the images that were said to be of the class, the share that are.
        recall: (K,), of the images that are, the share that were said to be.
        f1: (K,), the harmonic mean of both.
        support: int (K,), the images that are of the class.
        predicted: int (K,), those that were said to be.

    Examples:
        >>> from keras_convnextv2.analysis import ClassScores
        >>> scores = ClassScores.from_counts(hits=[3, 0], support=[4, 2], predicted=[3, 3])
        >>> scores.recall.tolist(), scores.f1.round(3).tolist()
        ([0.75, 0.0], [0.857, 0.0])
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    predicted: np.ndarray

    @classmethod
    def from_counts(cls, hits, support, predicted):
        """Of the counts a class: images rightly said to be, those that are, those said to be."""
        hits, support, predicted = (np.asarray(count) for count in (hits, support, predicted))
        return cls(
            precision=_share(hits, predicted),
            recall=_share(hits, support),
            f1=_share(2 * hits, support + predicted),
            support=support,
            predicted=predicted,
        )

    @property
    def seen(self):
        """bool (K,): classes that occur or were said to; of others there is nothing to average."""
        return (self.support > 0) | (self.predicted > 0)

    @property
    def balanced_accuracy(self):
        """The mean recall of the classes that occur; 0 where none does."""
        return _mean(self.recall[self.support > 0])

    @property
    def macro_f1(self):
        """The mean F1 of the classes that are `seen`; 0 where none is."""
        return _mean(self.f1[self.seen])


def confusion_matrix(predicted, labels, num_classes):
    """How often each class was taken for each.

    Args:
        predicted: int (N,), the classes that were said.
        labels: int (N,), the right ones.
        num_classes: int, K.

    Returns:
        int64 (K, K): row the right class, column the one that was said.

    Examples:
        >>> from keras_convnextv2.analysis import confusion_matrix
        >>> confusion_matrix(predicted=[0, 1, 1], labels=[0, 0, 1], num_classes=3).tolist()
        [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    """
    predicted, labels = np.asarray(predicted, "int64"), np.asarray(labels, "int64")
    for name, values in (("predicted", predicted), ("labels", labels)):
        if values.size and not 0 <= values.min() <= values.max() < num_classes:
            raise ValueError(
                f"`{name}` must be of 0 to {num_classes - 1}. Received: {values.min()} to "
                f"{values.max()}"
            )
    pairs = labels * num_classes + predicted
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_scores(confusion):
    """The `ClassScores` of a confusion matrix.

    Args:
        confusion: int (K, K), as `confusion_matrix` gives it.

    Examples:
        >>> from keras_convnextv2.analysis import class_scores
        >>> scores = class_scores([[1, 1, 0], [0, 1, 0], [0, 0, 0]])
        >>> scores.precision.tolist(), scores.balanced_accuracy, round(scores.macro_f1, 4)
        ([1.0, 0.5, 0.0], 0.75, 0.6667)
    """
    confusion = np.asarray(confusion)
    return ClassScores.from_counts(confusion.diagonal(), confusion.sum(1), confusion.sum(0))


def top_k_accuracy(probabilities, labels, k=5):
    """The share of images whose label is among the k classes of the largest probabilities.

    Of equal probabilities the class of the smaller number comes first, as in `argmax`.

    Args:
        probabilities: (N, K).
        labels: int (N,).
        k: int, 1 or more; 1 gives the accuracy.

    Examples:
        >>> from keras_convnextv2.analysis import top_k_accuracy
        >>> probabilities = [[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1]]
        >>> [round(top_k_accuracy(probabilities, [0, 1, 2], k), 3) for k in (1, 2, 3)]
        [0.333, 0.667, 1.0]
    """
    probabilities, labels, several = checked_pair(probabilities, labels)
    if several:
        raise ValueError("`top_k_accuracy` is of one label an image. Received: (N, K) labels")
    own = probabilities[np.arange(len(labels)), labels][:, None]
    before = np.arange(probabilities.shape[1]) < labels[:, None]
    rank = ((probabilities > own) | ((probabilities == own) & before)).sum(1)
    return float((rank < k).mean())


def _share(part, whole):
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole != 0)


def _mean(values):
    return float(values.mean()) if values.size else 0.0
