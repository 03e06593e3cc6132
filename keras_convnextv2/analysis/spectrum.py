"""How many directions features spread over: measures of their spectrum, without labels."""

import numpy as np

FIRST_RANK, LAST_RANK = 6, 50  # of the eigenvalues that `alpha_req` fits


def rankme(features, epsilon=1e-7):
    """RankMe: the smooth rank of features, from 1 to min(N, d).

        p_k = s_k / sum(s) + epsilon,   exp(-sum_k p_k log p_k)

    s are the min(N, d) singular values of the features as they are, their mean not taken away. The
    value grows with N: compare equal N alone, and N above d. Source: RankMe (arXiv 2210.02885),
    equation 1. It tells a collapse; of two healthy models it does not say which is better.

    Computed in float64 from the smaller of the two Gram matrices.

    Args:
        features: (N, d), of N images.
        epsilon: float, of the formula.

    Returns:
        float; 0 for features that are all 0.

    Raises:
        ValueError: features of another rank, none, or values that are not finite.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import rankme
        >>> round(rankme(np.eye(8)), 3), round(rankme(np.ones((8, 8))), 3)
        (8.0, 1.0)
    """
    sizes = np.sqrt(eigenvalues(checked_features(features)))
    return 0.0 if sizes[0] == 0 else smooth_rank(sizes / sizes.sum() + epsilon)


def participation_ratio(features):
    """How many principal components share the variance evenly, from 1 to min(N - 1, d).

        (tr S)^2 / tr(S^2)

    S is the covariance of the features. Source: Gao et al. 2017 (bioRxiv 214262). Large components
    weigh more than in RankMe, whose shares are of singular values, not of their squares.

    Args:
        features: (N, d).

    Returns:
        float; 0 for features that are the same for all images.

    Raises:
        ValueError: as `rankme`.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import participation_ratio
        >>> corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
        >>> participation_ratio(corners), participation_ratio(corners * [1, 0])
        (2.0, 1.0)
    """
    gram = smaller_gram(centred(checked_features(features)))
    peak = np.abs(gram).max()
    return 0.0 if peak == 0 else float(np.trace(gram) ** 2 / np.sum(gram**2))


def alpha_req(features, first=FIRST_RANK, last=LAST_RANK):
    """alpha-ReQ: how fast the eigenvalues of the covariance fall, as a power of their rank.

    lambda_i is about i ** -alpha: alpha is the slope of -log lambda_i over log i, by least squares
    with weights 1 / i. Near 1 is said to be healthy; 0 is the same variance in all directions, a
    large alpha a few directions with all of it. Source: alpha-ReQ (Agrawal et al., NeurIPS 2022),
    with the fit of Stringer et al. (Nature 2019). Which ranks are fitted is a choice, and the value
    depends on it: the first few are no power law, and the last ones depend on N.

    Args:
        features: (N, d).
        first: int, the first rank that is fitted, from 1.
        last: int, the last one; where fewer eigenvalues are above 0, the last of these.

    Returns:
        float.

    Raises:
        ValueError: as `rankme`, and where fewer than two eigenvalues above 0 are to be fitted, as
            of features of a low rank.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import alpha_req
        >>> features = np.diag(np.arange(1, 65) ** -0.75)  # variances i ** -1.5
        >>> round(alpha_req(np.concatenate([features, -features])), 6)
        1.5
    """
    if not 1 <= first < last:
        raise ValueError(f"`first` < `last` are ranks from 1. Received: {first!r}, {last!r}")
    spectrum = eigenvalues(centred(checked_features(features)))
    spectrum = spectrum[spectrum > 0][first - 1 : last]
    if len(spectrum) < 2:
        raise ValueError(
            f"A slope needs two eigenvalues above 0 from rank {first} on. Received: features of "
            f"shape {np.shape(features)} with fewer."
        )
    ranks = np.arange(first, first + len(spectrum))
    x, y, weights = np.log(ranks), -np.log(spectrum), 1 / ranks
    x = x - np.average(x, weights=weights)
    return float(np.sum(weights * x * y) / np.sum(weights * x * x))


def checked_features(features):
    """Features (N, d) as float64.

    Raises:
        ValueError: of another rank, none, or values that are not finite.
    """
    features = np.asarray(features, "float64")
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(
            f"Features must be (N, d), N and d 1 or more. Received: shape {features.shape}"
        )
    if not np.isfinite(features).all():
        raise ValueError("Features hold NaN or infinite values. Look at the weights or the images.")
    return features


def centred(features):
    """Features (N, d) less their mean; what is rounding alone is 0."""
    rounding = len(features) * np.finfo("float64").eps * np.abs(features).max(axis=0)
    features = features - features.mean(axis=0)
    return np.where(np.abs(features) <= rounding, 0.0, features)


def smaller_gram(features):
    """X'X / N or XX' / N of features X (N, d), whichever is smaller."""
    tall = len(features) >= features.shape[1]
    return (features.T @ features if tall else features @ features.T) / len(features)


def eigenvalues(features):
    """The min(N, d) eigenvalues of X'X / N, largest first; what is rounding alone is 0."""
    values = np.linalg.eigvalsh(smaller_gram(features))[::-1]
    least = values[0] * max(features.shape) * np.finfo("float64").eps
    return np.where(values > max(least, 0.0), values, 0.0)


def smooth_rank(shares):
    """exp of the entropy of shares (k,), 0 log 0 being 0."""
    shares = shares[shares > 0]
    return float(np.exp(-np.sum(shares * np.log(shares))))
