"""Features of a frozen model for a set of images."""

import dataclasses

import keras
import numpy as np

from keras_convnextv2.models import ConvNeXtV2Backbone, ConvNeXtV2Classifier
from keras_convnextv2.models.classifier import make_head
from keras_convnextv2.models.functional_model import FunctionalModel


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """What a model says of images.

    Attributes:
        features: float32 (N, d).
        labels: int (N,), or None.
        identity: str, SHA-256 of all that they follow from, as hexadecimal digits; None where
            they were computed without a cache.
        from_cache: bool, whether they were read and not computed.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import Features
        >>> found = Features(np.zeros((2, 3), "float32"), labels=np.array([0, 1]))
        >>> [array.shape for array in found.pair], found.from_cache
        ([(2, 3), (2,)], False)
    """

    features: np.ndarray
    labels: np.ndarray | None
    identity: str | None = None
    from_cache: bool = False

    @property
    def pair(self):
        """(features, labels), as the probes take them."""
        return self.features, self.labels


def feature_model(model, norm=True):
    """The model that gives features: global average pool of the last stage, then LayerNorm.

    Its weights are those of `model`, not a copy, so that it follows a training.

    Args:
        model: a `ConvNeXtV2Backbone`, or a `ConvNeXtV2Classifier` or an `FCMAE` of one.
        norm: bool, whether features pass a LayerNorm (epsilon 1e-6) as the classifier's head has
            it: that of `model` where it is a classifier, else one of scale 1 and shift 0. False
            gives the pooled values.

    Returns:
        A `keras.Model` from images (B, H, W, C), normalised, to float32 (B, d).

    Raises:
        ValueError: `model` is none of these.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> from keras_convnextv2.analysis import feature_model
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> extractor = feature_model(kc.ConvNeXtV2Backbone(small, (64, 64, 3)))
        >>> extractor.predict_on_batch(np.zeros((5, 64, 64, 3), "float32")).shape
        (5, 64)
    """
    backbone = getattr(model, "backbone", model)
    if not isinstance(backbone, ConvNeXtV2Backbone):
        raise ValueError(f"Features are those of a ConvNeXtV2Backbone. Received: {model!r}")
    if isinstance(model, ConvNeXtV2Classifier):
        head = model.layers_of_head()
    else:
        dtype = keras.backend.result_type(backbone.dtype_policy.compute_dtype, "float32")
        head = make_head(1, dtype=dtype)
    outputs = backbone.output
    for layer in head[: 1 + norm]:
        outputs = layer(outputs)
    return FunctionalModel(inputs=backbone.input, outputs=outputs)


def describe(model, norm=True):
    """What the features of `feature_model(model, norm)` are, in words."""
    pooled = "global average pool of the last stage"
    if not norm:
        return pooled
    is_classifier = isinstance(model, ConvNeXtV2Classifier)
    of = "of the classifier" if is_classifier else "of scale 1 and shift 0"
    return f"{pooled}, LayerNorm {of}"


def compute_features(extractor, batches, on_batch=None):
    """The features of all images of `batches`, in their order.

    Args:
        extractor: as of `feature_model`.
        batches: has a length, and for each index below it (images,) or (images, labels), as
            `ImageBatches` without `shuffle`. The model is called with one batch size alone: a
            smaller batch is filled up, so that nothing is compiled twice.
        on_batch: optional function of (batches done, all batches).

    Returns:
        `Features`.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> from keras_convnextv2.analysis import compute_features, feature_model
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> backbone = kc.ConvNeXtV2Backbone(small, (32, 32, 3), stem_stride=1)
        >>> images, labels = np.zeros((4, 32, 32, 3), "float32"), np.arange(4)
        >>> batches = [(images, labels), (images[:2], labels[:2])]
        >>> found = compute_features(feature_model(backbone), batches)
        >>> found.features.shape, found.labels.tolist()
        ((6, 64), [0, 1, 2, 3, 0, 1])
    """
    features, labels = [], []
    for found, of_batch in each_output(extractor, batches, on_batch):
        features.append(found.astype("float32"))
        labels += of_batch[:1]
    return Features(np.concatenate(features), np.concatenate(labels) if labels else None)


def each_output(model, batches, on_batch=None):
    """What a model gives for each batch, with what stands beside its images.

    Args:
        model: `keras.Model` of images, with an output or a list of them.
        batches: as of `compute_features`.
        on_batch: the same; called when the next batch is asked for.

    Yields:
        (NumPy array or list of them, list of NumPy arrays).
    """
    size = 0
    for index in range(len(batches)):
        images, *rest = batches[index]
        images = keras.ops.convert_to_numpy(images)
        size = max(size, len(images))
        filled = np.pad(images, [(0, size - len(images))] + [(0, 0)] * (images.ndim - 1))
        outputs = model.predict_on_batch(filled)
        is_list = isinstance(outputs, (list, tuple))
        found = [
            keras.ops.convert_to_numpy(output)[: len(images)]
            for output in (outputs if is_list else [outputs])
        ]
        yield found if is_list else found[0], [np.asarray(array) for array in rest]
        if on_batch is not None:
            on_batch(index + 1, len(batches))
