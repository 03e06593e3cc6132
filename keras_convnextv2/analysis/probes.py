"""What the probes of frozen features share: their input, and the form of their results."""

import dataclasses

import numpy as np

LEAST_STD = 1e-5  # is added to a feature's standard deviation, as big_vision does


@dataclasses.dataclass(frozen=True)
class ProbeResult:
    """What a probe measured, beside what it was measured with.

    Attributes:
        probe: str, its name.
        accuracies: {what: tuple of floats in 0..1, one a seed}; a probe that is measured one way
            alone has the key "accuracy".
        settings: {name: value} of numbers and strings that JSON can hold, all that a repetition
            needs beside the features.

    Examples:
        >>> from keras_convnextv2.analysis import ProbeResult
        >>> result = ProbeResult("ridge", {"1 shot": (0.25, 0.5, 0.75)}, {"lambda": 1024})
        >>> result.mean("1 shot"), result.deviation("1 shot")
        (0.5, 0.25)
    """

    probe: str
    accuracies: dict
    settings: dict

    def mean(self, what="accuracy"):
        """The mean over the seeds."""
        return float(np.mean(self.accuracies[what]))

    def deviation(self, what="accuracy"):
        """The standard deviation over the seeds, of n - 1; None of one seed."""
        values = self.accuracies[what]
        return float(np.std(values, ddof=1)) if len(values) > 1 else None


def checked(train, test):
    """((features, labels), (features, labels)) as arrays that fit each other.

    Args:
        train, test: pairs of features (N, d), floats, and labels (N,), ints from 0.

    Raises:
        ValueError: shapes that do not fit, no features, features that are not finite, or labels
            that are no classes.
    """
    pairs = [_checked_pair(name, *pair) for name, pair in (("train", train), ("test", test))]
    widths = [features.shape[1] for features, _ in pairs]
    if widths[0] != widths[1]:
        raise ValueError(
            f"Training features have {widths[0]} values an image, test features {widths[1]}: they "
            "must come from one model."
        )
    return pairs


def _checked_pair(name, features, labels):
    features, labels = np.asarray(features, "float32"), np.asarray(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1] or not len(features):
        raise ValueError(
            f"{name} features must be (N, d) and labels (N,), N 1 or more. Received: shapes "
            f"{features.shape} and {labels.shape}"
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise ValueError(
            f"{name} labels must be classes, ints from 0. Received: {labels.dtype} from "
            f"{labels.min()}"
        )
    if not np.isfinite(features).all():
        raise ValueError(
            f"{name} features hold NaN or infinite values. Look at the weights that made them."
        )
    return features, labels


def num_classes_of(*labels):
    """The number of classes that labels (N,) from 0 tell apart."""
    return int(max(array.max() for array in labels)) + 1


def accuracy(predicted, labels):
    """The share of predictions (N,) that equal the labels (N,)."""
    return float(np.mean(predicted == labels))


def standardiser(features):
    """A function that takes away the mean of `features` (N, d) and divides by their deviation.

    It gives float64. 1e-5 is added to the deviation, so that a constant feature becomes 0.
    """
    mean = features.mean(axis=0, dtype="float64")
    std = features.std(axis=0, dtype="float64") + LEAST_STD

    def standardise(others):
        return (others - mean) / std

    return standardise
