"""From a classifier's logits to probabilities."""

import math
import numbers

import numpy as np


def probabilities_of(logits, temperature=1.0, multi_label=False):
    """softmax(logits / temperature) of each image; with `multi_label`, the sigmoid of each value.

    The temperature is one number for all classes and images (Guo et al., arXiv 1706.04599,
    section 4.2), so that it changes how sure a classifier is and not what it says first.

    Args:
        logits: (..., num_classes).
        temperature: float, above 0.
        multi_label: bool, whether an image may have several labels, or none.

    Returns:
        float32 (..., num_classes), computed in float64.
    """
    scores = np.asarray(logits, "float64") / temperature
    if multi_label:
        # Each half where its power cannot overflow.
        powers = np.exp(-np.abs(scores))
        return (np.where(scores >= 0, 1, powers) / (1 + powers)).astype("float32")
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype("float32")


def checked_temperature(temperature):
    """The temperature as a float.

    Raises:
        ValueError: it is no finite number above 0.
    """
    if (
        isinstance(temperature, bool)
        or not isinstance(temperature, numbers.Real)
        or not 0 < temperature < math.inf
    ):
        raise ValueError(
            "A temperature is a finite number above 0, by which logits are divided; 1 leaves them "
            f"as they are. Received: {repr(temperature)[:200]}"
        )
    return float(temperature)
