"""The loss of a classifier that gives logits."""

import keras


def classification_loss(multi_label=False, label_smoothing=0.0, soft_labels=False):
    """The loss for `compile`.

    Args:
        multi_label: bool, whether an image may have several labels, or none: then each class is a
            question of its own (sigmoid, binary cross-entropy, the mean over the classes).
        label_smoothing: float in 0..1: a label counts 1 - s and s is spread evenly over the
            classes; of several labels, over yes and no.
        soft_labels: bool, whether labels come as rows, as mixup gives them.

    Returns:
        A `keras.losses.Loss` of logits (B, K). Its labels are ints (B,) where there is neither
        smoothing nor `soft_labels` and an image has one; else floats (B, K), a row an image.

    Raises:
        ValueError: smoothing that is none.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.training.classification_loss import classification_loss
        >>> loss = classification_loss()(np.array([1]), np.zeros((1, 2), "float32"))
        >>> round(float(loss), 4)  # log 2, of one label an image
        0.6931
        >>> classification_loss(multi_label=True).name
        'binary_crossentropy'
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(
            f"`label_smoothing` must be 0 or more and less than 1. Received: {label_smoothing!r}"
        )
    if multi_label:
        return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=label_smoothing)
    if soft_labels or label_smoothing:
        return keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=label_smoothing
        )
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
