"""Features of a frozen model for a set of images, computed once and kept in a file."""

import dataclasses
import hashlib
import json
import os
import zipfile
from pathlib import Path

import keras
import numpy as np

from keras_convnextv2.models import ConvNeXtV2Backbone, ConvNeXtV2Classifier
from keras_convnextv2.models.classifier import make_head
from keras_convnextv2.models.functional_model import FunctionalModel

_FORM = 1  # of the file and of what is computed: a change makes all earlier files void


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """What a model says of images.

    Attributes:
        features: float32 (N, d).
        labels: int (N,), or None.
        identity: str, SHA-256 of all that they follow from, as hexadecimal digits; None where
            they were computed without a cache.
        from_cache: bool, whether they were read and not computed.
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
        >>> from keras_convnextv2.analysis.features import feature_model
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
    """
    features, labels, size = [], [], 0
    for index in range(len(batches)):
        images, *rest = batches[index]
        images = keras.ops.convert_to_numpy(images)
        size = max(size, len(images))
        filled = np.pad(images, [(0, size - len(images))] + [(0, 0)] * (images.ndim - 1))
        found = keras.ops.convert_to_numpy(extractor.predict_on_batch(filled))
        features.append(found[: len(images)].astype("float32"))
        labels += [np.asarray(labels_of_batch) for labels_of_batch in rest[:1]]
        if on_batch is not None:
            on_batch(index + 1, len(batches))
    return Features(np.concatenate(features), np.concatenate(labels) if labels else None)


def cached_features(folder, extractor, batches, images=None, on_batch=None):
    """As `compute_features`, but read from a file in `folder` where one holds just these.

    The file is known by the SHA-256 of the model's configuration and weights and of the images. So
    it is never stale: other weights, another image, a changed file, size or normalisation make
    another file. A file that cannot be read is written again.

    Args:
        folder: path; made where it is missing.
        extractor, batches, on_batch: as of `compute_features`.
        images: optional str, what the batches hold where that is known without reading them all:
            `source_identity(source, framing)`, for batches of all images of a source in order and
            without transforms. The pixels of the first and the last batch count beside it: they
            tell of another version of what decodes. None reads all batches first.

    Returns:
        `Features` with their `identity`.

    Raises:
        ValueError: the batches are shuffled.
    """
    if getattr(batches, "shuffle", False):
        raise ValueError("Features are kept in the order of the images: give batches unshuffled.")
    looked_at = range(len(batches)) if images is None else sorted({0, len(batches) - 1})
    parts = (_FORM, keras.backend.backend(), weights_identity(extractor), images, len(batches))
    digest = hashlib.sha256(repr(parts).encode())
    for index in looked_at:
        for array in batches[index]:
            _update_with_array(digest, keras.ops.convert_to_numpy(array))
    identity = digest.hexdigest()
    path = Path(folder).expanduser() / f"features-{identity[:24]}.npz"
    found = _read(path, identity)
    if found is not None:
        return found
    computed = dataclasses.replace(
        compute_features(extractor, batches, on_batch), identity=identity
    )
    _write(path, computed)
    return computed


def weights_identity(model):
    """SHA-256 of a model's configuration, without names, and of its weights' values."""
    layers = [[type(layer).__name__, _nameless(layer.get_config())] for layer in model.layers]
    digest = hashlib.sha256(json.dumps(layers, sort_keys=True).encode())
    for weight in model.weights:
        array = np.ascontiguousarray(keras.ops.convert_to_numpy(weight.value))
        digest.update(f"{array.dtype} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def source_identity(source, framing):
    """SHA-256 of a source's images, told without decoding them; None where that is not possible.

    It is of the files' bytes (not their names or dates) or of the stored arrays, of the labels and
    of all else in the source that decides what is read.

    Args:
        source: `ImageSource` whose records are paths of files, or images (N, H, W, C).
        framing: (H, W), or a dataclass that says by its values which part of a picture is taken.

    Returns:
        str, or None.
    """
    if not (isinstance(framing, tuple) or dataclasses.is_dataclass(framing)):
        return None
    digest = hashlib.sha256(f"{type(source).__name__} {framing!r}".encode())
    for field in dataclasses.fields(source):
        if field.name in ("records", "description", "notes"):
            continue
        value = getattr(source, field.name)
        digest.update(f" {field.name} ".encode())
        if isinstance(value, np.ndarray):
            _update_with_array(digest, value)
        else:
            digest.update(repr(value).encode())
    records = source.records
    if isinstance(records, np.ndarray) and records.dtype == "uint8" and records.ndim == 4:
        _update_with_array(digest, records)
        return digest.hexdigest()
    for record in records:
        if not isinstance(record, (str, Path)) or not os.path.isfile(record):
            return None
        with open(record, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _update_with_array(digest, array):
    digest.update(f"{array.dtype} {array.shape} ".encode())
    digest.update(np.ascontiguousarray(array).tobytes())


def _nameless(config):
    """A configuration without what Keras numbers anew for each model of a process."""
    if isinstance(config, dict):
        return {key: _nameless(value) for key, value in config.items() if key != "name"}
    if isinstance(config, (list, tuple)):
        return [_nameless(value) for value in config]
    return config if isinstance(config, (str, int, float, bool, type(None))) else repr(config)


def _read(path, identity):
    """The `Features` of a file, or None where it does not hold those that are wanted."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            if str(arrays["identity"]) != identity:
                return None
            labels = arrays["labels"] if "labels" in arrays.files else None
            return Features(arrays["features"], labels, identity, from_cache=True)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(path, features):
    """Under another name first, so that a crash leaves no half of a file under this one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"features": features.features, "identity": np.array(features.identity)}
    if features.labels is not None:
        arrays["labels"] = features.labels
    unfinished = path.with_name(f"{path.stem}.{os.getpid()}.unfinished.npz")
    np.savez(unfinished, **arrays)
    os.replace(unfinished, path)
