"""Numbers in HDF5 files, found without reading them."""

import io
import math
import os

import numpy as np

from keras_convnextv2.weights.checkpoint import StoredTensor, numpy_dtype
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

    def add(name, item):
        if isinstance(item, h5py.Dataset):
            tensors[name] = _tensor(path, window, name, item)

    with window, h5py.File(window, "r") as file:
        file.visititems(add)
        links = []
        file.visititems_links(lambda name, link: links.append((name, type(link).__name__)))
    for name, kind in links:
        if kind != "HardLink":
            raise WeightsError(f"{name} is a {kind} to elsewhere")
    return tensors


def _tensor(path, window, name, dataset):
    properties = dataset.id.get_create_plist()
    offset, size = dataset.id.get_offset(), dataset.id.get_storage_size()
    dtype = dataset.dtype
    is_bfloat16 = dtype.itemsize == 2 and dataset.attrs.get("dtype") == "bfloat16"
    if dataset.shape is None or not (dtype.kind in "fiub" or is_bfloat16):
        raise WeightsError(f"{name} holds {dtype}, not numbers")
    num_values = math.prod(dataset.shape)
    if (
        properties.get_external_count()
        or dataset.is_virtual
        or dataset.chunks is not None
        or size != num_values * dtype.itemsize
        or (offset is None and num_values)
    ):
        raise WeightsError(f"{name} is no plain array of {num_values} numbers in the file itself")
    if num_values and offset + size > window.size:
        raise WeightsError(f"{name} goes on beyond the end of the file")
    shape = tuple(int(side) for side in dataset.shape)
    stored = "bfloat16" if is_bfloat16 else dtype.newbyteorder("=").name

    def load():
        wanted = numpy_dtype(stored)
        values = np.fromfile(
            path, wanted if is_bfloat16 else dtype, num_values, offset=window.start + (offset or 0)
        )
        if len(values) != num_values:
            raise WeightsError(f"{path} has become shorter while it was read.")
        return values.astype(wanted, copy=False).reshape(shape)

    return StoredTensor(shape, stored, load)
