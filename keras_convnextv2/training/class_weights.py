"""How much images of each class count in the loss, where some classes have fewer of them."""

import math
import numbers

import numpy as np


def class_weights(labels, weights="balanced", class_names=None, num_classes=None):
    """The weight of each class, for the `class_weight` of `keras.Model.fit`.

    Args:
        labels: int (N,), of the training images.
        weights: "balanced": N / (C * images of the class), with C the classes that occur, so that
            all of them count the same together and an image counts 1 on average (scikit-learn's
            `compute_class_weight`); a class without images has 1. "none": 1 each. Or numbers of
            0 or more: a sequence in the order of the classes, or a dict by their names or places,
            in which a class that is not named has 1.
        class_names: optional sequence of str, which says how many classes there are.
        num_classes: int, the same where they have no names; default: the largest label and 1.

    Returns:
        {class: weight}, an int and a float each.

    Raises:
        ValueError: weights or labels that are none of this.

    Examples:
        >>> from keras_convnextv2.training.class_weights import class_weights
        >>> class_weights([0, 0, 0, 1])
        {0: 0.6666666666666666, 1: 2.0}
        >>> class_weights([0, 0, 0, 1], {"dog": 3}, class_names=["cat", "dog"])
        {0: 1.0, 1: 3.0}
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.size == 0 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            "Class weights are of one label an image, ints (N,). Where images have several, no "
            f"class stands for an image. Received: {labels.dtype} {labels.shape}"
        )
    if class_names is not None:
        num_classes = len(class_names)
    num_classes = int(labels.max()) + 1 if num_classes is None else num_classes
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"Labels must be of 0 to {num_classes - 1}. Received: {labels.min()} to {labels.max()}"
        )
    if isinstance(weights, str):
        values = _by_word(weights, labels, num_classes)
    elif isinstance(weights, dict):
        values = np.ones(num_classes)
        for name, weight in weights.items():
            values[_place(name, class_names, num_classes)] = _checked(weight)
    else:
        values = [_checked(weight) for weight in weights]
        if len(values) != num_classes:
            raise ValueError(
                f"There are {num_classes} classes. Received: {len(values)} class weights"
            )
    if not any(values):
        raise ValueError("At least one class weight must be above 0, or there is nothing to learn.")
    return {place: float(value) for place, value in enumerate(values)}


def _by_word(word, labels, num_classes):
    if word == "none":
        return np.ones(num_classes)
    if word != "balanced":
        raise ValueError(
            f"Class weights are 'balanced', 'none' or numbers, a class each. Received: {word!r}"
        )
    counts = np.bincount(labels, minlength=num_classes)
    occurring = np.count_nonzero(counts)
    balanced = len(labels) / (occurring * np.maximum(counts, 1))
    return np.where(counts > 0, balanced, 1.0)


def _place(name, class_names, num_classes):
    if class_names is not None and name in class_names:
        return list(class_names).index(name)
    if isinstance(name, numbers.Integral) and 0 <= name < num_classes:
        return int(name)
    known = f"0 to {num_classes - 1}" if class_names is None else ", ".join(map(repr, class_names))
    raise ValueError(f"There is no class {name!r} to weigh. The classes are {known}.")


def _checked(weight):
    if isinstance(weight, bool) or not isinstance(weight, numbers.Real) or not weight >= 0:
        weight = math.nan
    if not math.isfinite(weight):
        raise ValueError(f"A class weight is a finite number of 0 or more. Received: {weight!r}")
    return float(weight)
