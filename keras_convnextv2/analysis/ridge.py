"""Ridge regression on few labels, in closed form: big_vision's few-shot probe.

Source: `fewshot_lsr` of github.com/google-research/big_vision, read 2026-11-29.
"""

import numpy as np

from keras_convnextv2.analysis.probes import (
    ProbeResult,
    accuracy,
    checked,
    num_classes_of,
    standardiser,
)

LAMBDA = 2.0**10
BIAS_CONSTANT = 100.0  # a feature so large that the bias, its weight, is hardly pulled to 0
SHOTS = (1, 5, 10, 25)
NUM_SEEDS = 3


def ridge_scores(train, labels, test, num_classes, l2=LAMBDA):
    """Scores of classes by linear regression to targets of -1 and 1, in closed form.

    Features are standardised by the training set and take a constant 100 for the bias. With X the
    (N, d + 1) training features and Y the (N, K) targets, W = (X'X + l2 I)^-1 X'Y, or, where N is
    less than d + 1, the same by X' (XX' + l2 I)^-1 Y. No optimizer: nothing is drawn.

    Args:
        train: (N, d) floats.
        labels: (N,) ints in 0..num_classes-1.
        test: (M, d) floats.
        num_classes: int, K.
        l2: float, the ridge; more than 0.

    Returns:
        float64 (M, num_classes).

    Raises:
        ValueError: `l2` is not positive.
    """
    if not l2 > 0:
        raise ValueError(f"`l2` must be positive. Received: {l2!r}")
    standardise = standardiser(train)
    x, x_test = (with_bias(standardise(features)) for features in (train, test))
    y = targets(labels, num_classes)
    if len(x) >= x.shape[1]:
        weights = np.linalg.solve(x.T @ x + l2 * np.eye(x.shape[1]), x.T @ y)
    else:
        weights = x.T @ np.linalg.solve(x @ x.T + l2 * np.eye(len(x)), y)
    return x_test @ weights


def ridge_probe(train, test, l2=LAMBDA):
    """The accuracy of `ridge_scores` with all training labels: one figure, the same each time.

    Args:
        train: (features (N, d), labels (N,)).
        test: the same.
        l2: float.

    Returns:
        `ProbeResult` with "accuracy".

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import ridge_probe
        >>> rng = np.random.default_rng(0)
        >>> labels = np.arange(400) % 2
        >>> features = rng.normal(size=(400, 3)) + 4 * labels[:, None]
        >>> ridge_probe((features[:200], labels[:200]), (features[200:], labels[200:])).mean()
        1.0
    """
    (x, y), (x_test, y_test) = checked(train, test)
    scores = ridge_scores(x, y, x_test, num_classes_of(y, y_test), l2)
    settings = {**_settings(l2), "train_images": len(x), "test_images": len(x_test)}
    return ProbeResult("ridge", {"accuracy": (accuracy(scores.argmax(1), y_test),)}, settings)


def few_shot_probe(train, test, shots=SHOTS, num_seeds=NUM_SEEDS, l2=LAMBDA):
    """The accuracy of `ridge_scores` with few labels a class.

    A class that has fewer images than are asked for gives all it has. The images of fewer shots
    are among those of more.

    Args:
        train: (features (N, d), labels (N,)).
        test: the same.
        shots: ints, images a class.
        num_seeds: int; the images are drawn by seeds 0, 1, ...
        l2: float.

    Returns:
        `ProbeResult` with "1 shot", "5 shots", ...: an accuracy a seed. Its settings have for each
        the "fewest_images_a_class": how many images the smallest class gave.

    Raises:
        ValueError: no shots or seeds, or some below 1; and as `checked`.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import few_shot_probe
        >>> labels = np.arange(40) % 2
        >>> features = np.random.default_rng(0).normal(size=(40, 3)) + 9 * labels[:, None]
        >>> train, test = (features[:20], labels[:20]), (features[20:], labels[20:])
        >>> few_shot_probe(train, test, shots=(1, 5), num_seeds=2).accuracies
        {'1 shot': (1.0, 1.0), '5 shots': (1.0, 1.0)}
    """
    if not shots or min(shots) < 1 or num_seeds < 1:
        raise ValueError(
            "`shots` and `num_seeds` must be 1 or more. Received: "
            f"shots={tuple(shots)!r}, num_seeds={num_seeds!r}"
        )
    (x, y), (x_test, y_test) = checked(train, test)
    num_classes = num_classes_of(y, y_test)
    accuracies = {_shots_named(count): [] for count in shots}
    for seed in range(num_seeds):
        rng = np.random.default_rng(seed)
        of_classes = [rng.permutation(np.flatnonzero(y == label)) for label in range(num_classes)]
        for count in shots:
            chosen = np.concatenate([indices[:count] for indices in of_classes])
            scores = ridge_scores(x[chosen], y[chosen], x_test, num_classes, l2)
            accuracies[_shots_named(count)].append(accuracy(scores.argmax(1), y_test))
    smallest = int(np.bincount(y, minlength=num_classes).min())
    settings = {
        **_settings(l2),
        "num_seeds": num_seeds,
        "test_images": len(x_test),
        "fewest_images_a_class": {_shots_named(count): min(count, smallest) for count in shots},
    }
    return ProbeResult("ridge", {key: tuple(value) for key, value in accuracies.items()}, settings)


def targets(labels, num_classes):
    """(N, K): 1 for the class of an image, -1 for others."""
    return np.where(labels[:, None] == np.arange(num_classes), 1.0, -1.0)


def with_bias(features):
    """Features (N, d) and a constant for the bias, (N, d + 1)."""
    return np.pad(features, ((0, 0), (0, 1)), constant_values=BIAS_CONSTANT)


def _shots_named(count):
    return f"{count} shot{'' if count == 1 else 's'}"


def _settings(l2):
    return {"lambda": l2, "bias_constant": BIAS_CONSTANT, "features": "standardised"}
