"""How far features on the unit sphere stand from each other, and the measures of features in one.

Source of the deviation: SimSiam (arXiv 2011.10566), section 4.1 and figure 2.
"""

import numpy as np

from keras_convnextv2.analysis.spectrum import (
    alpha_req,
    centred,
    checked_features,
    participation_ratio,
    rankme,
)


def collapse_deviation(features):
    r"""The standard deviation of features on the unit sphere: 1 is uniform, 0 is collapsed.

        sqrt(d) * mean over features of std over images of z / \|z\|

    Where images point in all directions alike, each of the d values of a vector of length 1 has a
    deviation of 1 / sqrt(d). It is never above 1. Images that share a large mean lower it, and so
    do features of unequal size. A vector that is 0 stays 0. The standard deviation is that of the
    population, divided by N.

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
    features = features / np.maximum(np.abs(features).max(axis=1, keepdims=True), 1e-300)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    features = centred(features / np.maximum(lengths, 1e-300))
    deviations = np.sqrt(np.mean(features**2, axis=0))
    return float(np.sqrt(features.shape[1]) * deviations.mean())


def representation_measures(features):
    """All measures of features (N, d) that need neither labels nor views, by name.

    Args:
        features: (N, d), such as those of `compute_features`.

    Returns:
        {"rankme", "alpha_req", "participation_ratio", "collapse_deviation"} of floats; "alpha_req"
        is None where the features have too low a rank for a slope.

    Raises:
        ValueError: as `rankme`.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import representation_measures
        >>> representation_measures(np.ones((10, 3)))["participation_ratio"]
        0.0
    """
    features = checked_features(features)
    try:
        alpha = alpha_req(features)
    except ValueError:
        alpha = None
    return {
        "rankme": rankme(features),
        "alpha_req": alpha,
        "participation_ratio": participation_ratio(features),
        "collapse_deviation": collapse_deviation(features),
    }
