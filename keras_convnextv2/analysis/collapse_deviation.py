"""How far features on the unit sphere point apart."""

import numpy as np

from keras_convnextv2.analysis.spectrum import centred, checked_features


def collapse_deviation(features):
    r"""The standard deviation of features on the unit sphere: 1 is uniform, 0 is collapsed.

        sqrt(d) * mean over features of std over images of z / \|z\|

    Where images point in all directions alike, each of the d values of a vector of length 1 has a
    deviation of 1 / sqrt(d). It is never above 1. Images that share a large mean lower it, and so
    do features of unequal size. A vector that is 0 stays 0. The standard deviation is that of the
    population, divided by N. Source: SimSiam (arXiv 2011.10566), section 4.1 and figure 2, where
    the factor sqrt(d) is left out.

    Args:
        features: (N, d).

    Returns:
        float in 0..1; 0 for one image.

    Raises:
        ValueError: as `rankme`.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import collapse_deviation
        >>> round(collapse_deviation([[2, 0], [-2, 0], [0, 1], [0, -1]]), 6)
        1.0
        >>> collapse_deviation([[3, 4], [6, 8]])  # two images, one direction
        0.0
    """
    features = checked_features(features)
    peaks = np.abs(features).max(axis=1, keepdims=True)  # squares of tiny values would vanish
    features = features / np.where(peaks > 0, peaks, 1.0)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    features = centred(features / np.where(lengths > 0, lengths, 1.0))
    deviations = np.sqrt(np.mean(features**2, axis=0))
    return float(np.sqrt(features.shape[1]) * deviations.mean())
