"""Labels that are not quite certain."""

import numpy as np


def smooth_labels(labels, smoothing, *, exclusive=True):
    """Moves a share of the labels' weight to all classes evenly.

    labels * (1 - smoothing) + smoothing / K: of a picture with one class, its own gets
    1 - smoothing + smoothing / K and each other smoothing / K. Where a picture may have several
    labels, each is a question of its own with two answers, and K is 2.

    Source: "Rethinking the Inception Architecture" (arXiv 1512.00567, section 7). It is linear, so
    it is the same before a mixup as after it.

    Args:
        labels: float (..., K), 0 and 1 or shares between.
        smoothing: float, 0 up to below 1. Paper: 0.1 or 0.2.
        exclusive: bool, whether a picture has one class, and its labels sum to 1.

    Returns:
        float32 (..., K).

    Raises:
        ValueError: whole labels (class numbers), or a smoothing that none can be.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.data import smooth_labels
        >>> smooth_labels(np.eye(4, dtype="float32")[:1], 0.2).round(2).tolist()[0]
        [0.8500000238418579, 0.05000000074505806, 0.05000000074505806, 0.05000000074505806]
    """
    labels = np.asarray(labels)
    if not 0 <= smoothing < 1:
        raise ValueError(f"`smoothing` must be from 0 to below 1. Received: {smoothing!r}")
    demand_soft_labels(labels)
    num_answers = labels.shape[-1] if exclusive else 2
    kept, spread = np.float32(1 - smoothing), np.float32(smoothing / num_answers)
    return labels.astype("float32") * kept + spread


def demand_soft_labels(labels):
    """Raises ValueError for labels that are class numbers, or none, rather than shares (..., K)."""
    if labels is None or labels.dtype.kind != "f" or labels.ndim < 1:
        found = "no labels" if labels is None else f"{labels.dtype} {labels.shape}"
        raise ValueError(
            "Labels must be shares of the classes, float (B, K), not class numbers; "
            f"`np.eye(K, dtype='float32')[numbers]` makes them. Received: {found}"
        )
