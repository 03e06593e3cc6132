"""Ridge regression whose penalty is chosen on a held-out part of the training images."""

import numpy as np

from keras_convnextv2.analysis.logistic_regression import held_out
from keras_convnextv2.analysis.probes import (
    ProbeResult,
    accuracy,
    checked,
    num_classes_of,
    standardiser,
)
from keras_convnextv2.analysis.ridge import BIAS_CONSTANT, LAMBDA, targets, with_bias

VALUES_OF_L2 = tuple(2.0**power for power in range(-2, 21, 2))
VALIDATION_FRACTION = 0.2


def tuned_ridge_probe(
    train, test, values_of_l2=VALUES_OF_L2, validation_fraction=VALIDATION_FRACTION, seed=0
):
    """The accuracy of `ridge_probe` with the penalty that suits the features.

    Each penalty is tried on images that are held out of the training ones, of each class the same
    share; of equals the largest wins. With it all training images are fitted. Where no class has
    two images none can be held out, and the penalty is that of `ridge_probe`. All penalties cost
    one decomposition of the smaller Gram matrix.

    Args:
        train: (features (N, d), labels (N,)).
        test: the same; it chooses nothing.
        values_of_l2: floats above 0.
        validation_fraction: float in (0, 1).
        seed: int, of the images that are held out.

    Returns:
        `ProbeResult` with "accuracy"; its settings have the chosen "lambda".

    Raises:
        ValueError: no penalties, or some that are not positive; and as `probes.checked`.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import tuned_ridge_probe
        >>> labels = np.arange(80) % 2
        >>> features = np.random.default_rng(0).normal(size=(80, 3)) + 9 * labels[:, None]
        >>> train, test = (features[:40], labels[:40]), (features[40:], labels[40:])
        >>> tuned_ridge_probe(train, test).mean()
        1.0
    """
    (x, y), (x_test, y_test) = checked(train, test)
    standardise = standardiser(x)
    sweep = (values_of_l2, validation_fraction, seed)
    found, settings = fitted((standardise(x), y), (standardise(x_test), y_test), *sweep)
    settings = {**settings, "features": "standardised", "test_images": len(x_test)}
    return ProbeResult("tuned ridge", {"accuracy": (found,)}, settings)


def fitted(train, test, values_of_l2=VALUES_OF_L2, validation_fraction=VALIDATION_FRACTION, seed=0):
    """(accuracy, settings) of features that are taken as they are, not standardised.

    Arguments are those of `tuned_ridge_probe`. Nothing changes where features are rotated.
    """
    if not len(values_of_l2) or min(values_of_l2) <= 0:
        raise ValueError(f"`values_of_l2` must be positive. Received: {values_of_l2!r}")
    (x, y), (x_test, y_test) = train, test
    num_classes = num_classes_of(y, y_test)
    held = held_out(y, validation_fraction, seed)
    chosen = LAMBDA
    chosen_on = "nothing: no class has two images"
    if held.any():
        largest_first = sorted(values_of_l2, reverse=True)
        scores = _scores_of_each(x[~held], y[~held], x[held], num_classes, largest_first)
        found = [accuracy(of_value.argmax(1), y[held]) for of_value in scores]
        chosen = largest_first[int(np.argmax(found))]
        chosen_on = f"{validation_fraction:.0%} of train, seed {seed}"
    (scores,) = _scores_of_each(x, y, x_test, num_classes, [chosen])
    settings = {
        "lambda": float(chosen),
        "chosen_on": chosen_on,
        "bias_constant": BIAS_CONSTANT,
        "train_images": len(x),
    }
    return accuracy(scores.argmax(1), y_test), settings


def _scores_of_each(train, labels, test, num_classes, values_of_l2):
    """Yields the scores (M, K) of test features for each penalty, as `ridge_scores` has them.

    With X'X = Q diag(v) Q', W = Q diag(1 / (v + l2)) Q' X'Y; where N is less than d + 1, the same
    of XX' = Q diag(v) Q' by W = X' Q diag(1 / (v + l2)) Q' Y.
    """
    x, x_test, y = with_bias(train), with_bias(test), targets(labels, num_classes)
    if len(x) >= x.shape[1]:
        values, vectors = np.linalg.eigh(x.T @ x)
        right, left = vectors.T @ (x.T @ y), x_test @ vectors
    else:
        values, vectors = np.linalg.eigh(x @ x.T)
        right, left = vectors.T @ y, x_test @ (x.T @ vectors)
    for l2 in values_of_l2:
        yield left @ (right / (np.maximum(values, 0.0) + l2)[:, None])
