"""Whether a classifier is as often right as it says, and the temperature that makes it so."""

import dataclasses

import numpy as np

from keras_convnextv2.analysis.labels import checked_pair

NUM_BINS = 15  # as Guo et al. have it (arXiv 1706.04599, section 5)
_ROWS = 4096  # images at once, so that what is computed is of bounded size
_LEAST, _MOST = 1e-2, 1e2  # a temperature
_SIGNIFICANT = 3.84  # the 95 % quantile of chi-squared with one degree of freedom
_STEPS = 100  # at most; each at least halves the interval, and 40 would do


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """Decisions by how sure they were, in bins of equal width over 0..1.

    Attributes:
        count: int (bins,), decisions in each bin.
        confidence: float (bins,), the mean probability that they had; 0 in an empty bin.
        accuracy: float (bins,), the share that was right; 0 in an empty bin.

    Examples:
        >>> from keras_convnextv2.analysis import Reliability, reliability
        >>> found = reliability([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], [0, 1, 1], num_bins=2)
        >>> isinstance(found, Reliability), found.count.tolist()
        (True, [0, 3])
        >>> round(found.expected_error, 4)  # .8 said, 2/3 right
        0.1333
    """

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def expected_error(self):
        """The expected calibration error: the mean gap of the bins, weighted by their count."""
        gaps = np.abs(self.confidence - self.accuracy)
        return float((self.count * gaps).sum() / self.count.sum())


def reliability(probabilities, labels, num_bins=NUM_BINS):
    """How often decisions are right, by how sure they were.

    A decision is the first class of an image, as sure as its probability; where images have several
    labels, each class of each image is one, as sure as the probability of the label.

    Args:
        probabilities: (N, K).
        labels: int (N,), or (N, K) of 0 and 1.
        num_bins: int; bin m has the confidences in (m / bins, (m + 1) / bins], 0 is in the first.

    Returns:
        A `Reliability`.

    Examples:
        >>> from keras_convnextv2.analysis import reliability
        >>> found = reliability([[0.9, 0.1], [0.6, 0.4]], [0, 1], num_bins=4)
        >>> found.count.tolist(), found.accuracy.tolist()
        ([0, 0, 1, 1], [0.0, 0.0, 0.0, 1.0])
    """
    probabilities, labels, several = checked_pair(probabilities, labels)
    if several:
        confidences, right = probabilities.reshape(-1), labels.reshape(-1)
    else:
        first = probabilities.argmax(1)
        confidences, right = probabilities[np.arange(len(first)), first], first == labels
    confidences = confidences.astype("float64")
    places = np.clip(np.ceil(confidences * num_bins).astype(int) - 1, 0, num_bins - 1)
    count, said, correct = (
        np.bincount(places, weights, num_bins) for weights in (None, confidences, right)
    )
    known = np.maximum(count, 1)
    return Reliability(count.astype(int), said / known, correct / known)


def negative_log_likelihood(probabilities, labels):
    """The mean of -log p of what is the case; a probability of 0 counts as float32's least.

    Args:
        probabilities: (N, K).
        labels: int (N,), for the mean over images; or (N, K) of 0 and 1, over images and classes.

    Examples:
        >>> from keras_convnextv2.analysis import negative_log_likelihood
        >>> round(negative_log_likelihood([[0.5, 0.5], [0.25, 0.75]], [0, 1]), 4)
        0.4904
    """
    probabilities, labels, several = checked_pair(probabilities, labels)
    probabilities = probabilities.astype("float64")
    if several:
        right = np.where(labels, probabilities, 1 - probabilities)
    else:
        right = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(right, np.finfo("float32").tiny)).mean())


def brier_score(probabilities, labels):
    """The mean squared distance from the probabilities to what is the case.

    Args:
        probabilities: (N, K).
        labels: int (N,): summed over classes, so from 0 to 2 (Brier, 1950; of two classes
            scikit-learn's is half of it); or (N, K) of 0 and 1: the mean over classes.

    Examples:
        >>> from keras_convnextv2.analysis import brier_score
        >>> brier_score([[0.5, 0.5], [0.25, 0.75]], [0, 1])
        0.3125
    """
    probabilities, labels, several = checked_pair(probabilities, labels)
    total = 0.0
    for start in range(0, len(labels), _ROWS):
        rows, right = probabilities[start : start + _ROWS], labels[start : start + _ROWS]
        wanted = right if several else np.arange(rows.shape[1]) == right[:, None]
        total += ((rows.astype("float64") - wanted) ** 2).sum()
    return float(total / (probabilities.size if several else len(labels)))


def fit_temperature(logits, labels):
    """The temperature under which labels are likeliest (Guo et al., arXiv 1706.04599, section 4.2).

    To be fitted on validation images, which neither trained the classifier nor test it. The
    likelihood is convex in 1 / temperature: Newton's steps, kept within an interval that holds the
    minimum, find it to rounding, always the same.

    It is 1 where the images do not tell how sure to be. So it is where every label has the largest
    logit (is on the right side of 0), as no temperature is small enough then, or the optimum is at
    another place beyond the bounds. And it is where 1 may be the true one: the doubled gain in the
    logarithm of the likelihood is then distributed as chi-squared with one degree of freedom
    (Wilks's theorem), and is above 3.84 in one case of 20 alone, so a smaller one is taken for
    chance. The optimum of a few images can be anything. Where images have several labels, each
    class counts as a decision.

    Args:
        logits: (N, K), of `ConvNeXtV2Classifier.predict`.
        labels: int (N,); or (N, K) of 0 and 1, for probabilities by sigmoid.

    Returns:
        float between .01 and 100.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import fit_temperature
        >>> logits = np.array([[4.0, 0.0]] * 30 + [[0.0, 4.0]] * 10)
        >>> labels = np.zeros(40, int)
        >>> round(fit_temperature(logits, labels), 4)  # 3 of 4 are right: log 3 = 4 / T
        3.641
        >>> fit_temperature(logits[::10], labels[::10])  # 3 of 4, which may be chance
        1.0
    """
    logits, labels, several = checked_pair(logits, labels)
    if _is_separated(logits, labels, several):
        return 1.0
    low, high = 1 / _MOST, 1 / _LEAST  # of 1 / temperature
    slopes = [_derivatives(logits, labels, several, bound)[0] for bound in (low, high)]
    if not slopes[0] < 0 < slopes[1]:
        return 1.0
    inverse = 1.0
    for _ in range(_STEPS):
        slope, curvature = _derivatives(logits, labels, several, inverse)
        if slope > 0:
            high = inverse
        else:
            low = inverse
        step = inverse - slope / curvature if curvature > 0 else np.inf
        # In the middle, in logarithms, where Newton's step leaves the interval.
        following = step if low < step < high else np.sqrt(low * high)
        if abs(following - inverse) <= 1e-10 * inverse:
            break
        inverse = following
    before, after = (_total_loss(logits, labels, several, value) for value in (1.0, following))
    return float(1 / following) if 2 * (before - after) >= _SIGNIFICANT else 1.0


def _is_separated(logits, labels, several):
    if several:
        return bool((np.where(labels, logits, -logits) >= 0).all())
    return bool((logits[np.arange(len(labels)), labels] >= logits.max(1)).all())


def _total_loss(logits, labels, several, inverse):
    """The sum of -log p of what is the case, in float64."""
    total = 0.0
    for start in range(0, len(labels), _ROWS):
        scores = inverse * logits[start : start + _ROWS].astype("float64")
        right = labels[start : start + _ROWS]
        if several:
            total += np.logaddexp(0, np.where(right, -scores, scores)).sum()
        else:
            total += np.logaddexp.reduce(scores, axis=1).sum()
            total -= scores[np.arange(len(right)), right].sum()
    return total


def _derivatives(logits, labels, several, inverse):
    """The first and second derivative of the mean loss by 1 / temperature."""
    slope = curvature = 0.0
    for start in range(0, len(labels), _ROWS):
        scores = logits[start : start + _ROWS].astype("float64")
        right = labels[start : start + _ROWS]
        if several:
            expected = 0.5 * (1 + np.tanh(inverse * scores / 2))  # the sigmoid
            slope += (scores * (expected - right)).sum()
            curvature += (scores**2 * expected * (1 - expected)).sum()
        else:
            scores -= scores.max(1, keepdims=True)
            powers = np.exp(inverse * scores)
            powers /= powers.sum(1, keepdims=True)
            mean = (powers * scores).sum(1)
            slope += (mean - scores[np.arange(len(right)), right]).sum()
            curvature += ((powers * scores**2).sum(1) - mean**2).sum()
    return slope / len(labels), curvature / len(labels)
