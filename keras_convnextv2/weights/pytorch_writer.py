"""Writing files that `torch.load(weights_only=True)` reads, without PyTorch."""

import pickle
import zipfile

from keras_convnextv2.weights.pickled_tensors import STORAGE_TYPES

_ALIGNMENT = 64  # of the numbers in the file, as PyTorch's own
_LOCAL_HEADER_BYTES = 30
_PADDING_FIELD = b"FB"  # PyTorch's name for it


def write(path, tensors, entry):
    """Writes a state dict in PyTorch's zip format, one tensor at a time.

    Args:
        path: of the file.
        tensors: {key: StoredTensor}.
        entry: name under which the file holds the state dict, or None for the dict alone.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "data.pkl", _pickled(tensors, entry))
        _add(archive, "byteorder", b"little")
        for index, tensor in enumerate(tensors.values()):
            _add(archive, f"data/{index}", tensor.load().tobytes())
        _add(archive, "version", b"3\n")


def _add(archive, name, content):
    info = zipfile.ZipInfo(f"archive/{name}")
    zip64 = len(content) >= zipfile.ZIP64_LIMIT
    header = _LOCAL_HEADER_BYTES + len(info.filename) + 4 + (20 if zip64 else 0)
    padding = -(archive.fp.tell() + header) % _ALIGNMENT
    info.extra = _PADDING_FIELD + padding.to_bytes(2, "little") + b"Z" * padding
    with archive.open(info, "w", force_zip64=zip64) as file:
        file.write(content)


def _pickled(tensors, entry):
    """{entry: {key: tensor}} as a pickle that calls what PyTorch calls to make a tensor."""
    out = [pickle.PROTO + b"\x02"]
    if entry is not None:
        out += [pickle.EMPTY_DICT, _plain(entry)]
    out += [pickle.EMPTY_DICT, pickle.MARK]
    for index, (key, tensor) in enumerate(tensors.items()):
        num_values, strides = 1, []
        for side in reversed(tensor.shape):
            strides.insert(0, num_values)
            num_values *= side
        out += [
            _plain(key),
            _named("torch._utils", "_rebuild_tensor_v2"),
            pickle.MARK,
            *(pickle.MARK, _plain("storage"), _named("torch", STORAGE_TYPES[tensor.dtype])),
            *(_plain(str(index)), _plain("cpu"), _plain(num_values), pickle.TUPLE),
            pickle.BINPERSID,
            *(_plain(0), _plain(tensor.shape), _plain(tuple(strides)), _plain(False)),
            *(_named("collections", "OrderedDict"), pickle.EMPTY_TUPLE, pickle.REDUCE),
            *(pickle.TUPLE, pickle.REDUCE),
        ]
    out.append(pickle.SETITEMS)
    if entry is not None:
        out.append(pickle.SETITEM)
    return b"".join([*out, pickle.STOP])


def _plain(value):
    """The opcodes of a string, a number or a tuple of numbers."""
    return pickle.dumps(value, protocol=2)[2:-1]


def _named(module, name):
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()
