"""Probabilities and the labels that they are compared with, checked."""

import numpy as np


def checked_pair(probabilities, labels):
    """Both as arrays, and whether images have several labels.

    Args:
        probabilities: (N, K) floats, or logits.
        labels: int (N,), a class an image; or (N, K) of 0 and 1, several labels an image or none.

    Returns:
        (N, K) array as it is, labels as int64 (N,) or bool (N, K), and a bool.

    Raises:
        ValueError: shapes or values that do not go together.
    """
    probabilities, labels = np.asarray(probabilities), np.asarray(labels)
    if probabilities.ndim != 2 or 0 in probabilities.shape:
        raise ValueError(
            "There must be a row of values an image, (N, num_classes), and at least one. "
            f"Received: the shape {probabilities.shape}"
        )
    if not np.isfinite(probabilities).all():
        raise ValueError("The classifier's outputs are not finite: its weights or images are bad.")
    num_images, num_classes = probabilities.shape
    if labels.shape == (num_images, num_classes) and labels.ndim == 2:
        if not np.isin(labels, (0, 1)).all():
            raise ValueError("Labels of several classes an image are 0 or 1 each.")
        return probabilities, labels.astype(bool), True
    is_whole = np.issubdtype(labels.dtype, np.integer)
    if labels.shape != (num_images,) or not is_whole:
        raise ValueError(
            f"Labels must be ints ({num_images},), or 0 and 1 of ({num_images}, {num_classes}). "
            f"Received: {labels.dtype} {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"Labels must be of 0 to {num_classes - 1}, the classes of the outputs. Received: "
            f"{labels.min()} to {labels.max()}"
        )
    return probabilities, labels.astype("int64"), False
