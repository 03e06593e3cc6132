"""Features that were computed once, in a file that is never stale."""

import dataclasses
import hashlib
import json
import os
import zipfile
from pathlib import Path

import keras
import numpy as np

from keras_convnextv2.analysis.features import Features, compute_features
from keras_convnextv2.whole_files import whole_file

_FORM = 1  # of the file and of what is computed: a change makes all earlier files void


def cached_features(folder, extractor, batches, images=None, on_batch=None):
    """As `compute_features`, but read from a file in `folder` where one holds just these.

    The file is known by the SHA-256 of the model's configuration and weights and of the images. So
    it is never stale: other weights, another image, a changed file, size or normalisation make
    another file. A file that cannot be read is written again.

    Args:
        folder: path; made where it is missing.
        extractor: as of `compute_features`.
        batches: the same.
        on_batch: the same.
        images: optional str, what the batches hold where that is known without reading them all:
            `source_identity(source, framing)`, for batches of all images of a source in order and
            without transforms. The pixels of the first and the last batch count beside it: they
            tell of another version of what decodes. None reads all batches first.

    Returns:
        `Features` with their `identity`.

    Raises:
        ValueError: the batches are shuffled.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> from keras_convnextv2.analysis import cached_features, feature_model
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> extractor = feature_model(kc.ConvNeXtV2Backbone(small, (32, 32, 3), stem_stride=1))
        >>> batches = [(np.zeros((4, 32, 32, 3), "float32"), np.arange(4))]
        >>> [cached_features("kept", extractor, batches).from_cache for _ in range(2)]
        [False, True]
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

    Examples:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from keras_convnextv2.analysis import source_identity
        >>> from keras_convnextv2.data import open_source
        >>> for number in range(5):
        ...     for name in ("ant", "bee"):
        ...         Path("told", name).mkdir(parents=True, exist_ok=True)
        ...         Image.new("RGB", (40, 30)).save(f"told/{name}/{number}.png")
        >>> before = source_identity(open_source("told", "train"), (32, 32))
        >>> Image.new("RGB", (40, 30), "red").save("told/ant/0.png")
        >>> before == source_identity(open_source("told", "train"), (32, 32))
        False
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
    arrays = {"features": features.features, "identity": np.array(features.identity)}
    if features.labels is not None:
        arrays["labels"] = features.labels
    with whole_file(path) as unfinished:
        np.savez(unfinished, **arrays)
