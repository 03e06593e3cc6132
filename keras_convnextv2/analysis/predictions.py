"""A classifier's probabilities of many images: they are kept, the images are not."""

import dataclasses

import keras
import numpy as np

from keras_convnextv2.analysis.calibration import negative_log_likelihood
from keras_convnextv2.models.probabilities import probabilities_of


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """What a classifier says of N images.

    Attributes:
        probabilities: float32 (N, K), after the temperature.
        labels: the right labels, int (N,) or (N, K) of 0 and 1.
        loss: float, the mean negative log-likelihood before the temperature, as `fit` reports it.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> from keras_convnextv2.analysis import Predictions, predict_labelled
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(small, (64, 64, 3)), 2)
        >>> found = predict_labelled(model, [(np.zeros((3, 64, 64, 3), "float32"), [0, 1, 1])])
        >>> isinstance(found, Predictions), found.probabilities.shape
        (True, (3, 2))
    """

    probabilities: np.ndarray
    labels: np.ndarray
    loss: float


def predict_labelled(classifier, batches, flips=False):
    """The `Predictions` of a classifier.

    Args:
        classifier: `ConvNeXtV2Classifier`.
        batches: iterable of (images, labels): images float (B, H, W, C), normalised; labels int
            (B,), or (B, K) of 0 and 1. Each is asked for when the one before is done with.
        flips: bool, whether each image is also shown mirrored; see `with_flips`. The loss, too, is
            that of the mean.

    Returns:
        `Predictions`; of a classifier for several labels, labels of one an image are rows too.

    Raises:
        ValueError: labels of several classes for a classifier whose classes exclude one another.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> from keras_convnextv2.analysis import predict_labelled
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(small, (64, 64, 3)), 2)
        >>> batches = [(np.zeros((n, 64, 64, 3), "float32"), np.zeros(n, int)) for n in (4, 1)]
        >>> predict_labelled(model, batches, flips=True).labels.tolist()
        [0, 0, 0, 0, 0]
    """
    has_logits = classifier.activation is keras.activations.linear
    num_classes = classifier.num_classes

    def both(images):
        """The probabilities before and after the temperature, (2, B, K)."""
        outputs = np.asarray(
            keras.ops.convert_to_numpy(classifier.predict_on_batch(images)), "float32"
        )
        after = classifier.probabilities(outputs)
        before = after
        if has_logits and classifier.temperature != 1:
            before = probabilities_of(outputs, multi_label=classifier.multi_label)
        return np.stack([before, after])

    kept, all_labels, losses = [], [], []
    for images, labels in batches:
        before, after = with_flips(both, images) if flips else both(images)
        labels = np.asarray(labels)
        if labels.ndim == 2 and not classifier.multi_label:
            raise ValueError(
                "The images have several labels each, and the classifier's classes exclude one "
                "another: make it with multi_label=True."
            )
        if classifier.multi_label and labels.ndim == 1:
            labels = (np.arange(num_classes) == labels[:, None]).astype("float32")
        kept.append(after)
        all_labels.append(labels)
        losses.append(negative_log_likelihood(before, labels) * len(labels))
    labels = np.concatenate(all_labels)
    return Predictions(np.concatenate(kept), labels, sum(losses) / len(labels))


def with_flips(probabilities, images):
    """The mean of the probabilities of images and of their mirror images.

    Of probabilities, not of logits: the mean is again a distribution, each view has the temperature
    that was fitted on single ones, and its negative log-likelihood is never above the mean of
    both (Jensen), while the mean of logits is less sure or surer by how the views differ.

    Args:
        probabilities: function from images to an array whose values can be averaged.
        images: (B, H, W, C).

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import with_flips
        >>> images = np.array([0.2, 0.8, 0.4]).reshape(1, 1, 3, 1)
        >>> with_flips(lambda images: images[:, 0, 0], images).round(3)  # of the left pixel
        array([[0.3]])
    """
    mirrored = np.ascontiguousarray(np.asarray(images)[:, :, ::-1])
    return (probabilities(images) + probabilities(mirrored)) / 2
