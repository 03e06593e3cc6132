"""safetensors files."""

import dataclasses
import json
import math
import struct

from keras_convnextv2.weights.checkpoint import (
    MAX_LISTING_BYTES,
    Checkpoint,
    StoredTensor,
    numpy_dtype,
)
from keras_convnextv2.weights.description import (
    Description,
    checked_block,
    checked_names,
    licence_of,
    normalisation_of,
    pixel_range_of,
    temperature_of,
)
from keras_convnextv2.weights.errors import WeightsError, in_brief

_NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    **{
        f"{code}{8 * size}": f"{name}{8 * size}"
        for code, name in (("I", "int"), ("U", "uint"))
        for size in (1, 2, 4, 8)
    },
}
_CODES = {name: code for code, name in _NAMES.items()}


def read(path):
    """Opens a safetensors file. The library compares the header with the file's size first.

    Raises:
        WeightsError: the file is damaged.
    """
    import safetensors

    try:
        _check_header(path)
        with safetensors.safe_open(path, framework="numpy", backend="pread") as file:
            keys = list(file.keys())
            description = _description(file.metadata() or {})
            slices = {key: file.get_slice(key) for key in keys}
            tensors = {
                key: _tensor(path, key, tuple(part.get_shape()), part.get_dtype())
                for key, part in slices.items()
            }
    except WeightsError as error:
        raise WeightsError(f"{path} was refused: {error}") from error
    except Exception as error:  # the library's own, or any of damaged JSON
        reason = in_brief(error)
        raise WeightsError(f"{path} is damaged or no safetensors file: {reason}") from error
    return Checkpoint(path, "safetensors", tensors, description)


def _check_header(path):
    """What the library does not: a header of any size, and a key that is there twice."""
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        if size > MAX_LISTING_BYTES:
            raise WeightsError(f"its header has {size} bytes, too many to be true")
        json.loads(file.read(size), object_pairs_hook=_demand_each_once)


def _demand_each_once(pairs):
    names = {name for name, _ in pairs}
    if len(names) != len(pairs):
        raise WeightsError("its header has a key twice")


def _tensor(path, key, shape, code):
    def load():
        import safetensors

        try:
            with safetensors.safe_open(path, framework="numpy", backend="pread") as file:
                return file.get_tensor(key)
        except Exception as error:  # the library's own
            reason = in_brief(error)
            raise WeightsError(f"{path} has changed while it was read: {reason}") from error

    return StoredTensor(shape, _NAMES.get(code, code), load)


def write(path, tensors, description):
    """Writes a safetensors file, one tensor at a time.

    The library's own writer takes all tensors at once, of which a large model has gigabytes.

    Args:
        path: of the file.
        tensors: {key: StoredTensor}.
        description: a `Description`, for the file's metadata.
    """
    metadata = {"format": "pt"}  # what transformers asks for
    for name, value in dataclasses.asdict(description).items():
        if value:
            metadata[name] = value if isinstance(value, str) else json.dumps(value)
    header, offset = {"__metadata__": metadata}, 0
    for key, tensor in tensors.items():
        size = math.prod(tensor.shape) * numpy_dtype(tensor.dtype).itemsize
        header[key] = {
            "dtype": _CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers are aligned
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for tensor in tensors.values():
            tensor.load().tofile(file)


def _description(metadata):
    def list_of(name):
        value = _json(metadata.get(name, "null"))
        return tuple(value) if isinstance(value, list) else None

    return Description(
        checked_names(list_of("class_names")),
        list_of("image_size"),
        licence_of(metadata.get("licence")),
        normalisation_of(json.loads(metadata.get("normalisation", "null"))),
        checked_block(_json(metadata["block"])) if "block" in metadata else None,
        pixel_range_of(json.loads(metadata.get("pixel_range", "null"))),
        temperature_of(json.loads(metadata.get("temperature", "null"))),
        _json(metadata.get("multi_label", "null")) is True or None,
    )


def _json(text):
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
