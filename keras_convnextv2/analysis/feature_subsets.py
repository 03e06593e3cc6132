"""Probes of a part of the features: random channels, and principal components.

Whether a few of the channels tell as much as all is called diffused redundancy (arXiv 2306.00183).
"""

import numpy as np

from keras_convnextv2.analysis import ridge_sweep
from keras_convnextv2.analysis.probes import ProbeResult, checked, standardiser

FRACTIONS = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
NUM_DRAWS = 5


def channel_subset_probe(train, test, fractions=FRACTIONS, num_draws=NUM_DRAWS, seed=0):
    """The accuracy of `tuned_ridge_probe` on random subsets of the channels.

    Each draw is an order of the channels, of which a share takes the first ones: a larger share of
    a draw holds the smaller ones. All channels are measured once.

    Args:
        train: (features (N, d), labels (N,)).
        test: the same.
        fractions: floats above 0, at most 1; one channel is taken at least.
        num_draws: int, 1 or more.
        seed: int, of the draws.

    Returns:
        `ProbeResult` with "5%", "10%", ...: an accuracy a draw. Its settings have the number of
        "channels" of each.

    Raises:
        ValueError: fractions or draws that are none; and as `probes.checked`.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import channel_subset_probe
        >>> labels = np.arange(80) % 2
        >>> features = np.random.default_rng(0).normal(size=(80, 10)) + 9 * labels[:, None]
        >>> train, test = (features[:40], labels[:40]), (features[40:], labels[40:])
        >>> result = channel_subset_probe(train, test, fractions=(0.2, 1), num_draws=2)
        >>> result.accuracies, result.settings["channels"]
        ({'20%': (1.0, 1.0), '100%': (1.0,)}, {'20%': 2, '100%': 10})
    """
    if not len(fractions) or not all(0 < fraction <= 1 for fraction in fractions):
        raise ValueError(
            f"`fractions` must be above 0 and at most 1. Received: {tuple(fractions)!r}"
        )
    _check_draws(num_draws)
    (x, y), (x_test, y_test) = checked(train, test)
    standardise = standardiser(x)
    x, x_test = standardise(x), standardise(x_test)
    num_channels = x.shape[1]
    orders = [
        np.random.default_rng([seed, draw]).permutation(num_channels) for draw in range(num_draws)
    ]
    accuracies, counts = {}, {}
    for fraction in fractions:
        count = max(round(fraction * num_channels), 1)
        found = [
            ridge_sweep.fitted((x[:, some], y), (x_test[:, some], y_test))[0]
            for some in (order[:count] for order in orders[: 1 if fraction == 1 else None])
        ]
        accuracies[f"{100 * fraction:g}%"], counts[f"{100 * fraction:g}%"] = tuple(found), count
    settings = {**_settings(len(x), len(x_test), num_draws, seed), "channels": counts}
    return ProbeResult("channel subsets", accuracies, settings)


def principal_component_probe(train, test, counts, num_draws=NUM_DRAWS, seed=0, basis=None):
    """The accuracy of a tuned ridge on the first principal components, beside a rotated control.

    The features are standardised and turned into their principal components, of which the first
    are taken. The control turns them at random instead: as many axes of a rotation drawn uniformly
    (the Q of a Gaussian matrix). Neither is standardised again, so that both are the same, all that
    the features tell, where all axes are taken.

    Args:
        train: (features (N, d), labels (N,)).
        test: the same.
        counts: ints from 1 to d, how many axes.
        num_draws: int, rotations of the control, 1 or more.
        seed: int, of the rotations.
        basis: optional features (M, d), without labels, which say the components and how the
            features are standardised; by default the training features.

    Returns:
        `ProbeResult` with "4 components": (accuracy,), and "4 rotated": an accuracy a rotation.

    Raises:
        ValueError: counts or draws that are none, a basis of other channels; and as
            `probes.checked`.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import principal_component_probe
        >>> labels = np.arange(80) % 2
        >>> features = np.random.default_rng(0).normal(size=(80, 10)) + 9 * labels[:, None]
        >>> train, test = (features[:40], labels[:40]), (features[40:], labels[40:])
        >>> principal_component_probe(train, test, counts=(1,)).mean("1 components")
        1.0
    """
    _check_draws(num_draws)
    (x, y), (x_test, y_test) = checked(train, test)
    num_channels = x.shape[1]
    if not len(counts) or not all(1 <= count <= num_channels for count in counts):
        raise ValueError(f"`counts` must be 1 to {num_channels}. Received: {tuple(counts)!r}")
    basis = x if basis is None else np.asarray(basis, "float32")
    if basis.ndim != 2 or basis.shape[1] != num_channels or not np.isfinite(basis).all():
        raise ValueError(
            f"`basis` must be finite features (M, {num_channels}). Received: shape {basis.shape}"
        )
    standardise = standardiser(basis)
    x, x_test, basis = standardise(x), standardise(x_test), standardise(basis)
    components = np.linalg.eigh(basis.T @ basis)[1][:, ::-1]  # of the largest variance first
    rotations = [
        _rotation(num_channels, np.random.default_rng([seed, n])) for n in range(num_draws)
    ]
    accuracies = {}
    for count in counts:
        for name, turns in (("components", [components]), ("rotated", rotations)):
            accuracies[f"{count} {name}"] = tuple(
                ridge_sweep.fitted((x @ axes, y), (x_test @ axes, y_test))[0]
                for axes in (turn[:, :count] for turn in turns)
            )
    settings = {**_settings(len(x), len(x_test), num_draws, seed), "basis_images": len(basis)}
    return ProbeResult("principal components", accuracies, settings)


def _rotation(size, rng):
    """An orthogonal matrix, drawn uniformly: the signs make it so (arXiv math-ph/0609050)."""
    orthogonal, triangle = np.linalg.qr(rng.normal(size=(size, size)))
    return orthogonal * np.sign(np.diag(triangle))


def _check_draws(num_draws):
    if num_draws < 1:
        raise ValueError(f"`num_draws` must be 1 or more. Received: {num_draws!r}")


def _settings(num_train, num_test, num_draws, seed):
    return {
        "ridge": "its penalty is chosen as by tuned_ridge_probe",
        "num_draws": num_draws,
        "seed": seed,
        "train_images": num_train,
        "test_images": num_test,
    }
