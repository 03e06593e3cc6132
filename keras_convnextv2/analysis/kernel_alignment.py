"""How alike two sets of features of the same images are, whatever their rotation: linear CKA."""

import numpy as np

from keras_convnextv2.analysis.spectrum import centred, checked_features


def linear_cka(one, other, unbiased=True):
    r"""Linear centred kernel alignment of two representations of the same images.

        CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)),   K = XX', L = YY'

    1 for features that are equal but for rotation and scale. Plain, HSIC is \|X'Y\|^2 of centred
    features (Kornblith et al., arXiv 1905.00414, equation 4): with few images it is near 1 for any
    two wide representations. Unbiased, it is the estimator of Song et al. (JMLR 2012, equation 5),
    as Nguyen et al. (arXiv 2010.15327) use it: near 0 for unrelated features whatever N, and a
    little below 0 at times.

    Computed in float64 by features (d1 x d2) or by images (N x N), whichever is smaller.

    Args:
        one: (N, d1).
        other: (N, d2), of the same images in the same order.
        unbiased: bool.

    Returns:
        float.

    Raises:
        ValueError: as `rankme`; different N; features that are the same for all images; with
            `unbiased`, fewer than 4 images, or features that vary too little to be estimated.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import linear_cka
        >>> rng = np.random.default_rng(0)
        >>> features = rng.normal(size=(40, 100))
        >>> turned = 3 * features[:, ::-1] + 5
        >>> round(linear_cka(features, turned), 6)
        1.0
        >>> unrelated = rng.normal(size=(40, 100))
        >>> abs(linear_cka(features, unrelated)) < 0.1
        True
        >>> linear_cka(features, unrelated, unbiased=False) > 0.6
        True
    """
    one, other = (checked_features(features) for features in (one, other))
    if len(one) != len(other):
        raise ValueError(f"Features must be of the same images. Received: {len(one)}, {len(other)}")
    if unbiased and len(one) < 4:
        raise ValueError(f"Unbiased CKA needs 4 images or more. Received: {len(one)}")
    one, other = (_of_size_one(centred(features)) for features in (one, other))
    independence = _unbiased if unbiased else _sum_of_products
    own = [independence(features, features) for features in (one, other)]
    if not min(own) > 0:
        raise ValueError("Features that hardly vary from image to image are like no others.")
    return float(independence(one, other) / np.sqrt(own[0] * own[1]))


def _of_size_one(features):
    peak = np.abs(features).max()
    if peak == 0:
        raise ValueError("Features that are the same for all images are like no others.")
    return features / peak


def _sum_of_products(one, other):
    """sum_ij K_ij L_ij = |X'Y|^2."""
    if max(one.shape[1], other.shape[1]) <= len(one):
        return np.sum((one.T @ other) ** 2)
    return np.sum((one @ one.T) * (other @ other.T))


def _unbiased(one, other):
    """Song et al.'s estimator times N (N - 3), of centred features.

    It leaves out the diagonals k and l of K and L. The rows of centred K and L sum to 0, without
    their diagonals to -k and -l, which the estimator's three terms come down to.
    """
    k, l = (np.sum(features**2, axis=1) for features in (one, other))  # noqa: E741 - as the paper
    count = len(one)
    both = k @ l
    return (
        (_sum_of_products(one, other) - both)
        + k.sum() * l.sum() / ((count - 1) * (count - 2))
        - 2 * both / (count - 2)
    )
