"""Numbers in HDF5 files, found without reading them.

The HDF5 library is not asked: on some damaged files it goes round in circles without end. What
Keras writes through h5py is a small part of the format, its first version: groups with a table of
names, arrays in one piece. Only that is read here, and no more of it than a bound.

Source: HDF5 File Format Specification, version 3.0, of the HDF Group; sections are named below.
"""

import math
import struct

import numpy as np

from keras_convnextv2.weights.checkpoint import (
    MAX_LISTING_BYTES,
    StoredTensor,
    demand_little_sharing,
    numpy_dtype,
)
from keras_convnextv2.weights.errors import WeightsError

_MAX_NAME_BYTES = 1024
# Types of header messages (IV.A.2).
_DATASPACE, _DATATYPE, _EXTERNAL_FILES, _LAYOUT, _CONTINUATION, _SYMBOL_TABLE = 1, 3, 7, 8, 16, 17
_SHARED = 2  # flag of a message: what it says is elsewhere
_SOFT_LINK = 2  # kind of an entry in a table of names
_CONTIGUOUS = (b"\x03\x01", b"\x04\x01")  # version and class of a layout
# Bits in all, of the exponent and of the mantissa, and the exponent's bias.
_FLOATS = {
    (64, 11, 52, 1023): "float64",
    (32, 8, 23, 127): "float32",
    (16, 5, 10, 15): "float16",
    (16, 8, 7, 127): "bfloat16",
}


class Window:
    """A part of a file that holds an HDF5 file.

    What is read of it, all together, is no more than lists the arrays of any model.
    """

    def __init__(self, path, start, size):
        self.start, self.size = start, size
        self._left = MAX_LISTING_BYTES
        self._file = open(path, "rb")  # noqa: SIM115  closed with this object

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def read(self, address, size):
        if address + size > self.size:
            raise WeightsError(f"it says that {size} bytes are at {address}, beyond its end")
        self._left -= size
        if self._left < 0:
            raise WeightsError("its lists of names are longer than any model's")
        self._file.seek(self.start + address)
        return self._file.read(size)

    def unpack(self, layout, address):
        """Little-endian numbers; `layout` is that of `struct`."""
        return struct.unpack(f"<{layout}", self.read(address, struct.calcsize(f"<{layout}")))


def stored_tensors(path, window):
    """{name: StoredTensor} of the arrays in a part of a file that holds an HDF5 file.

    Links, numbers kept elsewhere and compressed or virtual arrays are refused, since what they
    need is not bounded by the file's size.

    Args:
        path: of the file, for reading later.
        window: a `Window`; it is closed.

    Raises:
        WeightsError: an array of another kind, or beyond the file's end.
        Exception: of any type, where the file is damaged.
    """
    with window:
        tensors = {
            name: _tensor(path, window, name, messages)
            for name, messages in _arrays(window, _root(window))
        }
    num_bytes = sum(
        math.prod(tensor.shape) * numpy_dtype(tensor.dtype).itemsize for tensor in tensors.values()
    )
    demand_little_sharing(num_bytes, window.size)
    return tensors


def _root(window):
    """The address of the first group, from the superblock (II.A)."""
    version, offset_bytes, length_bytes = window.unpack("8xB4xBB", 0)
    if version > 1 or (offset_bytes, length_bytes) != (8, 8):
        raise WeightsError(
            f"it is of version {version} of HDF5's superblock, which neither h5py nor Keras writes "
            "of itself; load it with Keras and save it again"
        )
    base, end, root = window.unpack("Q8xQ16xQ", 24 + 4 * version)
    if base != 0 or end > window.size:
        raise WeightsError(f"it is cut short: it has {window.size} bytes of {end}")
    return root


def _arrays(window, root):
    """Yields (name, messages) of all that is no group."""
    waiting, seen = [("", root)], set()
    while waiting:
        name, address = waiting.pop()
        if address in seen:
            raise WeightsError(f"{name} is there under another name too")
        seen.add(address)
        messages = _messages(window, address)
        if _SYMBOL_TABLE not in messages:
            yield name, messages
            continue
        for member, place, is_link in _members(window, messages[_SYMBOL_TABLE]):
            path = f"{name}/{member}" if name else member
            if is_link:
                raise WeightsError(f"{path} is a link to elsewhere")
            if len(path) > _MAX_NAME_BYTES:
                raise WeightsError(f"{path[:100]}... is a name longer than any layer's")
            waiting.append((path, place))


def _messages(window, address):
    """{type: content} of an object's header (IV.A.1.a)."""
    version, header_bytes = window.unpack("B7xI", address)
    if version != 1:
        raise WeightsError("it has an object of a newer kind than h5py writes of itself")
    messages, blocks = {}, [(address + 16, header_bytes)]
    while blocks:
        block, place = window.read(*blocks.pop()), 0
        while place + 8 <= len(block):
            kind, size, flags = struct.unpack_from("<HHB", block, place)
            content = block[place + 8 : place + 8 + size]
            place += 8 + size
            if kind == _CONTINUATION:
                blocks.append(struct.unpack_from("<QQ", content))
            elif not flags & _SHARED:
                messages.setdefault(kind, content)
    return messages


def _members(window, symbol_table):
    """Yields (name, address, whether it is a link) of what a group holds (III.A to III.D)."""
    tree, heap = struct.unpack_from("<QQ", symbol_table)
    heap_mark, names_bytes, names_address = window.unpack("4s4xQ8xQ", heap)
    if heap_mark != b"HEAP":
        raise WeightsError("a group in it has no list of names")
    names, nodes = window.read(names_address, names_bytes), [tree]
    while nodes:
        node = nodes.pop()
        mark, kind, count = window.unpack("4sBxH", node)
        if mark == b"TREE" and kind == 0:
            nodes += window.unpack(f"{2 * count}Q", node + 24)[1::2]  # between keys
        elif mark == b"SNOD":
            for entry in range(node + 8, node + 8 + 40 * count, 40):
                start, address, cached = window.unpack("QQI", entry)
                end = names.index(b"\0", start, start + _MAX_NAME_BYTES)
                yield names[start:end].decode(), address, cached == _SOFT_LINK
        else:
            raise WeightsError("a group in it has no table of names")


def _tensor(path, window, name, messages):
    layout = messages.get(_LAYOUT, b"")
    if layout[:2] not in _CONTIGUOUS or _EXTERNAL_FILES in messages:
        raise WeightsError(f"{name} is no plain array in the file itself")
    shape, dtype = _shape(messages.get(_DATASPACE, b"")), _dtype(messages.get(_DATATYPE, b""))
    if shape is None or dtype is None:
        raise WeightsError(f"{name} holds no numbers of a kind known here")
    stored, order = dtype
    wanted = numpy_dtype(stored)
    address, num_bytes = struct.unpack_from("<QQ", layout, 2)
    num_values = math.prod(shape)
    if num_values and (
        num_bytes != num_values * wanted.itemsize or address + num_bytes > window.size
    ):
        raise WeightsError(f"the {num_values} numbers of {name} are not all in the file")

    def load():
        if num_values == 0:
            return np.empty(shape, wanted)
        values = np.fromfile(path, wanted, num_values, offset=window.start + address)
        if len(values) != num_values:
            raise WeightsError(f"{path} has become shorter while it was read.")
        if order == ">":
            values = values.byteswap()
        return values.reshape(shape)

    return StoredTensor(shape, stored, load)


def _shape(dataspace):
    """A tuple, or None where there is none (IV.A.2.b)."""
    version, rank, _, kind = struct.unpack_from("<4B", dataspace)
    if version == 1:
        return struct.unpack_from(f"<{rank}Q", dataspace, 8)
    is_array = version == 2 and kind in (0, 1)
    return struct.unpack_from(f"<{rank}Q", dataspace, 4) if is_array else None


def _dtype(datatype):
    """(name, ">" for big-endian numbers or "<"), or None for other than numbers (IV.A.2.d)."""
    kind, bits, size = struct.unpack_from("<BB2xI", datatype)
    kind &= 15  # beside it is a version
    order = "<>"[bits & 1]
    if kind == 0 and size in (1, 2, 4, 8):
        is_whole = struct.unpack_from("<HH", datatype, 8) == (0, 8 * size)
        return (f"{'int' if bits & 8 else 'uint'}{8 * size}", order) if is_whole else None
    if kind == 1 and not bits & 64:
        start, length, *_ = struct.unpack_from("<HHBBBBI", datatype, 8)
        exponent_bits, mantissa_bits, bias = struct.unpack_from("<xBxBI", datatype, 12)
        name = _FLOATS.get((length, exponent_bits, mantissa_bits, bias))
        return (name, order) if name and start == 0 and length == 8 * size else None
    if kind == 5 and size == 2:
        return "bfloat16", "<"  # HDF5 has no name for it: Keras writes two bytes of no kind
    return None
