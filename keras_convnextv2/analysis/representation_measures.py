"""The measures of features that need neither labels nor views, in one dict."""

from keras_convnextv2.analysis.collapse_deviation import collapse_deviation
from keras_convnextv2.analysis.spectrum import (
    alpha_req,
    checked_features,
    participation_ratio,
    rankme,
)


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
