"""In which order channels are removed."""

import numpy as np

from keras_convnextv2.analysis.spectrum import centred

ORDERS = ("redundancy", "response", "random")


def removal_order(features, by, seed=0):
    """The channels in the order in which they are removed.

    - "redundancy": constant channels first. Then, again and again, of the two channels that are
      most correlated among those left (by the correlation's size), the one whose mean correlation
      with all that are left is larger. So what stays is what correlates least. Source: the rule of
      `findCorrelation` of the R package caret, one channel at a time.
    - "response": the weakest first, by the root mean square over all positions and images.
    - "random": by the seed.

    Args:
        features: (N, ..., C): pooled ones (N, C), or maps (N, h, w, C), of which each position
            counts as a sample.
        by: one of `removal_order.ORDERS`, as above.
        seed: int.

    Returns:
        int (C,), each channel once.

    Raises:
        ValueError: another `by`, or features of fewer than two axes, none, or not finite.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import removal_order
        >>> one, other = np.random.default_rng(0).normal(size=(2, 50))
        >>> features = np.stack([one, 3 * other, one + 0.1 * other, 0 * one], axis=1)
        >>> first, second, *_ = removal_order(features, "redundancy").tolist()
        >>> first, second in (0, 2)  # the constant, then one of the two that are nearly equal
        (3, True)
        >>> removal_order(features, "response").tolist()[-1]  # the strongest last
        1
    """
    if by not in ORDERS:
        raise ValueError(f"`by` must be one of {', '.join(ORDERS)}. Received: {by!r}")
    features = np.asarray(features)
    if features.ndim < 2 or 0 in features.shape:
        raise ValueError(f"Features must be (N, ..., C). Received: shape {features.shape}")
    samples = features.reshape(-1, features.shape[-1]).astype("float64")
    if not np.isfinite(samples).all():
        raise ValueError("Features hold NaN or infinite values. Look at the weights or the images.")
    if by == "random":
        return np.random.default_rng(seed).permutation(samples.shape[1])
    if by == "response":
        return np.argsort(np.mean(samples**2, axis=0), kind="stable")
    return _by_redundancy(samples)


def _by_redundancy(samples):
    num_channels = samples.shape[1]
    samples = centred(samples)  # constant channels are 0
    lengths = np.sqrt(np.einsum("nc,nc->c", samples, samples))
    is_constant = lengths == 0
    samples = samples / np.where(is_constant, 1.0, lengths)
    alike = np.abs(samples.T @ samples)
    np.fill_diagonal(alike, 0.0)
    order = np.flatnonzero(is_constant).tolist()
    left = ~is_constant
    while len(order) < num_channels:
        highest = np.where(left, alike.max(axis=1), -1.0)
        one = int(highest.argmax())
        sums = alike.sum(axis=1)  # anew, so that the last two are equal
        other = int(np.where(left & (np.arange(num_channels) != one), alike[one], -1.0).argmax())
        removed = other if left[other] and sums[other] > sums[one] else one
        order.append(removed)
        left[removed] = False
        alike[removed] = alike[:, removed] = 0.0
    return np.array(order)
