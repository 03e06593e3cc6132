"""A share of the labels, of each class the same."""

import numpy as np


def label_fraction(labels, fraction, seed=0):
    """The places of a share of the images, of each class so many, and one at least.

    Which ones follows from the seed alone; a larger share keeps them and adds others.

    Args:
        labels: (N,) ints, classes from 0.
        fraction: float above 0, at most 1; what it gives of a class is rounded.
        seed: int.

    Returns:
        int (n,), in rising order.

    Raises:
        ValueError: another fraction, or labels that are no classes.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import label_fraction
        >>> labels = np.repeat([0, 1, 2], [100, 20, 3])
        >>> chosen = label_fraction(labels, 0.1)
        >>> np.bincount(labels[chosen]).tolist()
        [10, 2, 1]
    """
    labels = np.asarray(labels)
    if not 0 < fraction <= 1:
        raise ValueError(f"`fraction` must be above 0 and at most 1. Received: {fraction!r}")
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels) or labels.min() < 0:
        raise ValueError(
            f"Labels must be classes, ints (N,) from 0. Received: {labels.dtype} {labels.shape}"
        )
    chosen = []
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        places = np.random.default_rng([seed, int(label)]).permutation(places)
        chosen.append(places[: max(round(fraction * len(places)), 1)])
    return np.sort(np.concatenate(chosen))
