"""PyTorch's files (`torch.save`), both the zip format and the one before PyTorch 1.6."""

import argparse
import io
import math
import os
import struct

import numpy as np

from keras_convnextv2.weights.checkpoint import (
    MAX_LISTING_BYTES,
    Checkpoint,
    StoredTensor,
    demand_little_sharing,
    numpy_dtype,
)
from keras_convnextv2.weights.description import Description, checked_names
from keras_convnextv2.weights.errors import WeightsError, in_brief
from keras_convnextv2.weights.pickled_tensors import View, unpickle
from keras_convnextv2.weights.zip_entries import ZIP_MAGIC, ZipEntry, open_archive

_LEGACY_START = [0x1950A86A20F9469CFC6C, 1001]  # magic number, version
_USUAL_ENTRIES = ("model", "state_dict", "module", "model_state_dict", "model_ema")


def read(path, entry=None):
    """Opens a file of `torch.save`. No tensor is read yet, and nothing that it pickles is run.

    Args:
        path: of the file.
        entry: name of the state dict among several in the file, such as "model_ema". By default
            the first of `_USUAL_ENTRIES`, the only one there is, or the file's own dict of tensors.

    Raises:
        WeightsError: the file is damaged, names what is not harmless, or has no such entry.
    """
    try:
        with open(path, "rb") as file:
            is_zip = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
        root, places = _read_zip(path) if is_zip else _read_legacy(path)
        state, others = _state_dict(root, entry)
        views = {key: value for key, value in state.items() if isinstance(value, View)}
        tensors = {key: _tensor(path, view, places) for key, view in views.items()}
        demand_little_sharing(sum(map(_bytes_to_read, views.values())), os.path.getsize(path))
    except WeightsError as error:
        raise WeightsError(f"{path} was refused: {error}") from error
    except Exception as error:  # damaged bytes make pickle and zipfile raise anything
        raise WeightsError(f"{path} is damaged or no PyTorch file: {in_brief(error)}") from error
    meta = others.get("meta")
    beside = [others, meta] if isinstance(meta, dict) else [others]  # mmpretrain's is the second
    epochs = [place["epoch"] for place in beside if isinstance(place.get("epoch"), int)]
    details = {"epoch": epochs[0]} if epochs else {}
    entries = list(_state_dicts(others))
    if entries:
        details["other_entries"] = entries
    return Checkpoint(path, "PyTorch", tensors, _description(others), details)


def _state_dict(root, entry):
    """(the state dict, what stands beside it)."""
    if not isinstance(root, dict):
        raise WeightsError(f"it holds a {type(root).__name__}, not a dict of tensors")
    found = _state_dicts(root)
    if entry is None and not found and any(isinstance(value, View) for value in root.values()):
        return root, {}
    if entry is not None and entry not in found:
        raise WeightsError(f"it has no state dict {entry!r}. It has: {_shown(found) or 'none'}")
    if not found:
        raise WeightsError(f"it holds no state dict. It holds: {_shown(root) or 'nothing'}")
    if entry is None:
        usual = [name for name in _USUAL_ENTRIES if name in found]
        if not usual and len(found) > 1:
            raise WeightsError(
                f"it holds several state dicts; name one as `entry`: {_shown(found)}"
            )
        entry = (usual or list(found))[0]
    state = found[entry]
    return state, {name: value for name, value in root.items() if value is not state}


def _state_dicts(root):
    """{name: dict} of those that hold tensors. Each is looked through once."""
    dicts = {id(value): value for value in root.values() if isinstance(value, dict)}
    found = {
        place
        for place, value in dicts.items()
        if any(isinstance(tensor, View) for tensor in value.values())
    }
    return {name: value for name, value in root.items() if id(value) in found}


def _shown(names):
    return ", ".join(name[:80] for name in list(names)[:6])


def _description(others):
    """Class names as mmpretrain and its predecessor keep them."""
    meta = others.get("meta")
    if isinstance(meta, dict):
        data = meta.get("dataset_meta")
        names = data.get("classes") if isinstance(data, dict) else meta.get("CLASSES")
        return Description(class_names=checked_names(names))
    arguments = others.get("args")
    if isinstance(arguments, argparse.Namespace):  # of the official code
        size = getattr(arguments, "input_size", None)
        return Description(image_size=(size, size))
    return Description()


def _tensor(path, view, places):
    return StoredTensor(view.shape, view.storage.dtype, lambda: _read_view(path, view, places))


def _read_view(path, view, places):
    dtype = numpy_dtype(view.storage.dtype)
    if view.extent == 0:
        return np.empty(view.shape, dtype)
    start, check = places[view.storage.key]
    check()
    offset = start + view.offset * dtype.itemsize
    values = np.fromfile(path, dtype, view.extent, offset=offset)
    if len(values) != view.extent:
        raise WeightsError(f"{path} has become shorter while it was read.")
    strides = [step * dtype.itemsize for step in view.strides]
    return np.lib.stride_tricks.as_strided(values, view.shape, strides).copy()


def _read_zip(path):
    """(the pickled object, {storage key: (offset in the file, function that checks it)})."""
    with open_archive(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise WeightsError(f"it holds {len(pickles)} files data.pkl, where PyTorch writes one")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist():
            _demand_little_endian(ZipEntry(path, archive, f"{folder}byteorder").read() == b"little")
        root, storages = unpickle(io.BytesIO(ZipEntry(path, archive, pickles[0]).read()))
        places = {}
        for key, storage in storages.items():
            entry = ZipEntry(path, archive, f"{folder}data/{key}")
            if entry.size < _num_bytes(storage):
                raise WeightsError(f"storage {key} has {entry.size} bytes of {_num_bytes(storage)}")
            places[key] = (entry.offset, entry.check)
    return root, places


def _read_legacy(path):
    """As `_read_zip`, of the format before PyTorch 1.6: five pickles, then the storages."""
    with open(path, "rb") as file:
        pickles = io.BytesIO(file.read(MAX_LISTING_BYTES))
        if [unpickle(pickles)[0] for _ in _LEGACY_START] != _LEGACY_START:
            raise WeightsError("it does not begin as PyTorch's files do")
        system, _ = unpickle(pickles)
        _demand_little_endian(system["little_endian"] is True)
        root, storages = unpickle(pickles)
        keys, _ = unpickle(pickles)
        if not all(type(key) is str for key in keys) or sorted(keys) != sorted(storages):
            raise WeightsError("its list of storages is not that of its tensors")
        places, offset = {}, pickles.tell()
        end = file.seek(0, io.SEEK_END)
        for key in keys:
            file.seek(offset)
            (num_values,) = struct.unpack("<q", file.read(8))
            places[key] = (offset + 8, lambda: None)  # this format has no checksums
            offset += 8 + _num_bytes(storages[key])
            if num_values != storages[key].num_values or offset > end:
                raise WeightsError(f"storage {key} is cut short or of another size than declared")
    return root, places


def _bytes_to_read(view):
    return max(math.prod(view.shape), view.extent) * numpy_dtype(view.storage.dtype).itemsize


def _num_bytes(storage):
    return storage.num_values * numpy_dtype(storage.dtype).itemsize


def _demand_little_endian(condition):
    if not condition:
        raise WeightsError("its numbers are big-endian, which this reader does not turn round")
