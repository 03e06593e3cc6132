"""Numbers in HDF5 files, found without reading them."""

import io
import math
import os

import numpy as np

from keras_convnextv2.weights.checkpoint import StoredTensor, demand_little_sharing, numpy_dtype
from keras_convnextv2.weights.errors import WeightsError


class Window(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, path, start, size):
        super().__init__()
        self.start, self.size = start, size
        self._file = open(path, "rb")  # noqa: SIM115  closed with this object
        self._place = 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self._place

    def seek(self, offset, whence=os.SEEK_SET):
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.size}[whence]
        self._place = max(0, origin + offset)
        return self._place

    def readinto(self, buffer):
        self._file.seek(self.start + self._place)
        count = max(0, min(len(buffer), self.size - self._place))
        count = self._file.readinto(memoryview(buffer)[:count])
        self._place += count
        return count

    def close(self):
        self._file.close()
        super().close()


def stored_tensors(path, window):
    """{name: StoredTensor} of the datasets in a part of a file that holds an HDF5 file.

    Only plain arrays are taken: links to other files, numbers kept elsewhere and compressed or
    virtual ones are refused, since what they need is not bounded by the file's size.

    Args:
        path: of the file, for reading later.
        window: a `Window`; it is closed.

    Raises:
        WeightsError: a dataset of another kind, or beyond the file's end.
        Exception: of any type, where the file is damaged.
    """
    import h5py

    tensors = {}
    with window, h5py.File(window, "r") as file:
        for name, dataset in _datasets(file):
            tensors[name] = _tensor(path, window, name, dataset)
    num_bytes = sum(
        math.prod(tensor.shape) * numpy_dtype(tensor.dtype).itemsize for tensor in tensors.values()
    )
    demand_little_sharing(num_bytes, window.size)
    return tensors


def _datasets(file):
    """Yields (name, dataset). No link is followed before it is known to lead to this file."""
    import h5py

    groups, seen = [("", file)], set()
    while groups:
        prefix, group = groups.pop()
        for part in group:
            name = prefix + part
            link = group.get(part, getlink=True)
            if not isinstance(link, h5py.HardLink) or "/" in part:
                raise WeightsError(f"{name} is a {type(link).__name__} to elsewhere")
            item = group[part]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise WeightsError(f"{name} is there under another name too")
            seen.add(address)
            if isinstance(item, h5py.Group):
                groups.append((f"{name}/", item))
            elif isinstance(item, h5py.Dataset):
                yield name, item


def _tensor(path, window, name, dataset):
    import h5py

    properties = dataset.id.get_create_plist()
    # First: even the shape of a virtual dataset is looked up in other files.
    if properties.get_layout() != h5py.h5d.CONTIGUOUS or properties.get_external_count():
        raise WeightsError(f"{name} is no plain array in the file itself")
    dtype, shape = dataset.dtype, dataset.shape
    # HDF5 does not know bfloat16: Keras writes two bytes of no type. It says which in an attribute,
    # but on a damaged one the HDF5 library has been seen to read without end.
    is_bfloat16 = dtype == np.dtype("V2")
    if shape is None or not (dtype.kind in "fiub" or is_bfloat16):
        raise WeightsError(f"{name} holds {dtype}, not numbers")
    stored = "bfloat16" if is_bfloat16 else dtype.newbyteorder("=").name
    offset, size = dataset.id.get_offset(), dataset.id.get_storage_size()
    num_values = math.prod(shape)
    if num_values and (
        offset is None or size != num_values * dtype.itemsize or offset + size > window.size
    ):
        raise WeightsError(f"the {num_values} numbers of {name} are not all in the file")

    def load():
        wanted = numpy_dtype(stored)
        if num_values == 0:
            return np.empty(shape, wanted)
        offset_in_file = window.start + offset
        values = np.fromfile(
            path, wanted if is_bfloat16 else dtype, num_values, offset=offset_in_file
        )
        if len(values) != num_values:
            raise WeightsError(f"{path} has become shorter while it was read.")
        return values.astype(wanted, copy=False).reshape(shape)

    return StoredTensor(shape, stored, load)
