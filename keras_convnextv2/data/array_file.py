"""NumPy's files: what an array says of itself, before room is made for it."""

import math

import numpy as np

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def demand_room(file, num_bytes):
    """Raises for an array that is larger, by its own word, than what is stored of it.

    Args:
        file: binary, at the beginning of a .npy file; it is read from.
        num_bytes: int, that the whole file has at most.

    Raises:
        ValueError: it is; or it is no array.
        KeyError: it is of a version that `numpy.save` does not write for plain arrays.
    """
    shape, _, dtype = _HEADER_READERS[np.lib.format.read_magic(file)](file)
    # Objects are pickled, in bytes of any number; who reads refuses them.
    if not dtype.hasobject and dtype.itemsize * math.prod(shape) > num_bytes:
        raise ValueError(f"it is cut off, or is no array {shape} of {dtype}")
