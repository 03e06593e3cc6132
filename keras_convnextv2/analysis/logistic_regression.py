"""Logistic regression over a sweep of C, which a validation set chooses."""

import warnings

import numpy as np

from keras_convnextv2.analysis.probes import ProbeResult, accuracy, checked, standardiser

# C weighs the sum of the images' losses against half the squared weights: what suits goes down
# with the number of images.
COARSE_C = tuple(10.0**power for power in range(-6, 6))
DINOV3_C = tuple((10.0 ** np.linspace(-6, 5, 45)).tolist())
MAX_ITERATIONS = 1000
TOLERANCE = 1e-4  # of the largest gradient; scikit-learn's own


def logistic_probe(
    train,
    test,
    validation=None,
    values_of_c=COARSE_C,
    validation_fraction=0.1,
    seed=0,
    max_iterations=MAX_ITERATIONS,
):
    """The accuracy of scikit-learn's LogisticRegression (lbfgs) on standardised features.

    Each C is fitted on the training images and tried on the validation images; of equals the
    smallest wins. With it, training and validation images together are fitted and tested, as
    DINOv3 does (its sweep is `DINOV3_C`, 45 values from 1e-6 to 1e5; it does not standardise).
    The test images choose nothing.

    Args:
        train: (features (N, d), labels (N,)).
        test: the same.
        validation: the same; None takes a share of the training images, of each class.
        values_of_c: floats.
        validation_fraction: float in (0, 1), of each class, at least one image of those that have
            two; used without `validation`.
        seed: int, of the images that are taken.
        max_iterations: int, of lbfgs.

    Returns:
        `ProbeResult` with "accuracy"; its settings have the chosen C, and how many fits ended at
        `max_iterations`.

    Raises:
        ValueError: no or negative C, one class alone; and as `probes.checked`.
        ModuleNotFoundError: scikit-learn is not installed; names the extra.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import logistic_probe
        >>> labels = np.arange(80) % 2
        >>> features = np.random.default_rng(0).normal(size=(80, 3)) + 9 * labels[:, None]
        >>> train, test = (features[:40], labels[:40]), (features[40:], labels[40:])
        >>> result = logistic_probe(train, test, values_of_c=(0.01, 1.0))
        >>> result.mean(), result.settings["C"], result.settings["chosen_on"]
        (1.0, 0.01, '10% of train, seed 0')
    """
    if not len(values_of_c) or min(values_of_c) <= 0:
        raise ValueError(f"`values_of_c` must be positive. Received: {values_of_c!r}")
    (x, y), (x_test, y_test) = checked(train, test)
    if validation is None:
        from_train = f"{validation_fraction:.0%} of train, seed {seed}"
        chosen = held_out(y, validation_fraction, seed)
        held, (x, y) = (x[chosen], y[chosen]), (x[~chosen], y[~chosen])
    else:
        from_train = "validation images"
        (x, y), held = checked((x, y), validation)
    if len(np.unique(y)) < 2 or not len(held[0]):
        raise ValueError(
            "Logistic regression needs images of two classes or more, two or more of some of "
            f"them. Received: {len(np.unique(y))} class(es) in {len(y)} training images, "
            f"{len(held[0])} to choose C on"
        )
    tried = {}
    unfinished = 0
    for c in sorted(values_of_c):
        predict, finished = _fit(x, y, c, max_iterations)
        tried[c] = accuracy(predict(held[0]), held[1])
        unfinished += not finished
    best = max(tried, key=tried.get)  # the first of equals
    predict, finished = _fit(
        np.concatenate([x, held[0]]), np.concatenate([y, held[1]]), best, max_iterations
    )
    settings = {
        "C": best,
        "values_of_C": list(tried),
        "chosen_on": from_train,
        "accuracy_there": tried[best],
        "fitted_on": len(y) + len(held[1]),
        "solver": "lbfgs",
        "max_iterations": max_iterations,
        "fits_not_converged": unfinished + (not finished),
        "features": "standardised",
        "test_images": len(x_test),
    }
    return ProbeResult("logistic", {"accuracy": (accuracy(predict(x_test), y_test),)}, settings)


def held_out(labels, fraction, seed):
    """Which images are kept from training: bool (N,), `fraction` of each class, rounded.

    Of a class of two images or more one is kept at least, and one is left.

    Raises:
        ValueError: `fraction` is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"`validation_fraction` must be in (0, 1). Received: {fraction!r}")
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        indices = np.random.default_rng([seed, int(label)]).permutation(
            np.flatnonzero(labels == label)
        )
        count = min(max(round(fraction * len(indices)), 1), len(indices) - 1)
        chosen[indices[:count]] = True
    return chosen


def _fit(x, y, c, max_iterations):
    """(function from features to classes, whether the solver came to its end)."""
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise ModuleNotFoundError(
            "Logistic regression is scikit-learn's, which is not installed: "
            "pip install 'keras-convnextv2[probe]'",
            name="sklearn",
        ) from error
    standardise = standardiser(x)
    model = LogisticRegression(C=c, solver="lbfgs", max_iter=max_iterations, tol=TOLERANCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is counted
        model.fit(standardise(x), y)
    finished = int(np.max(model.n_iter_)) < max_iterations
    return lambda features: model.predict(standardise(features)), finished
