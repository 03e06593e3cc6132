"""How two figures of several models go together."""

import math

import numpy as np


def correlation(x, y):
    """Pearson's and Spearman's coefficient of paired values, with how sure the latter is.

    Spearman's is Pearson's of the ranks, equal values having their mean rank. The interval is
    Fisher's: tanh(atanh(r) ± 1.96 * 1.03 / sqrt(n - 3)), the factor 1.03 for ranks; it takes the
    pairs to be independent, which models of one pretraining are not. Source of the factor: Fieller,
    Hartley and Pearson, Biometrika 44 (1957).

    Args:
        x: n floats, 4 or more; finite.
        y: n floats, each of the same model as that of x.

    Returns:
        {"n": int, "pearson", "spearman": floats, "spearman_interval": [low, high]}; the last three
        are None where x or y is the same for all, and the interval where the order is the same, of
        which Fisher's says nothing.

    Raises:
        ValueError: other numbers of values, fewer than 4, or some that are not finite.

    Examples:
        >>> from keras_convnextv2.analysis import correlation
        >>> found = correlation([1, 2, 3, 4, 5], [1, 4, 9, 16, 25])
        >>> round(found["pearson"], 3), found["spearman"]
        (0.981, 1.0)
    """
    x, y = np.asarray(x, "float64"), np.asarray(y, "float64")
    if x.ndim != 1 or x.shape != y.shape or len(x) < 4:
        raise ValueError(
            f"There must be 4 pairs of values or more. Received: shapes {x.shape} and {y.shape}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("The values hold NaN or infinite ones.")
    found = {"n": len(x), "pearson": None, "spearman": None, "spearman_interval": None}
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return found
    found["pearson"], found["spearman"] = _pearson(x, y), _pearson(_ranks(x), _ranks(y))
    if abs(found["spearman"]) < 1 - 1e-12:
        centre, width = math.atanh(found["spearman"]), 1.96 * 1.03 / math.sqrt(len(x) - 3)
        found["spearman_interval"] = [math.tanh(centre - width), math.tanh(centre + width)]
    return found


def _pearson(x, y):
    x, y = x - x.mean(), y - y.mean()
    x, y = x / np.abs(x).max(), y / np.abs(y).max()  # squares of tiny values would vanish
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))


def _ranks(values):
    """Ranks from 1, the mean of those of equal values."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]
