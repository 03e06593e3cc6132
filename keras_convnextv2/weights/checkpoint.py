"""A checkpoint that has been opened: what it holds, before any of it is read."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_convnextv2.weights.description import Description
from keras_convnextv2.weights.errors import WeightsError

FLOATS = ("float32", "float16", "bfloat16", "float64")
# Of what lists the tensors of a file: some 200 bytes for each of at most a few thousand.
MAX_LISTING_BYTES = 4 * 2**20
_MAX_RANK, _MAX_VALUES = 64, 2**48  # NumPy's own, and less than overflows in bytes
_MAX_SHARING = 4  # tied weights are in a file once


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file, whose place and size have been checked against the file.

    Args:
        shape: tuple of ints.
        dtype: name, such as "bfloat16".
        load: reads it as a NumPy array of that shape and dtype.
    """

    shape: tuple
    dtype: str
    load: Callable

    def __post_init__(self):
        demand_array_shape(self.shape)


@dataclasses.dataclass
class Checkpoint:
    """What a file, or a folder, holds.

    Args:
        path: of the file, for messages.
        container: kind of file.
        tensors: {key: StoredTensor}.
        description: what comes along.
        details: what else is worth showing: the epoch, the names of other entries.
        model_config: of a `.keras` file or a folder of our own, what its model was built with,
            else None.
        is_own_folder: bool, whether it is such a folder.
    """

    path: Path
    container: str
    tensors: dict
    description: Description = Description()
    details: dict = dataclasses.field(default_factory=dict)
    model_config: dict | None = None
    is_own_folder: bool = False


def demand_array_shape(shape):
    """Raises WeightsError for the shape, from a file, of an array that NumPy cannot have."""
    sides = list(shape[: _MAX_RANK + 1])
    if (
        len(sides) > _MAX_RANK
        or not all(type(side) is int and 0 <= side <= _MAX_VALUES for side in sides)
        or math.prod(side or 1 for side in sides) > _MAX_VALUES
    ):
        raise WeightsError(f"a tensor in it has a shape that begins with {sides[:4]}")


def demand_little_sharing(tensor_bytes, file_bytes):
    """Raises WeightsError where the tensors together have many more bytes than their file.

    A few bytes that all tensors share could stand for a model of any size.
    """
    if tensor_bytes > _MAX_SHARING * file_bytes:
        raise WeightsError(
            f"its tensors share numbers: they have {tensor_bytes} bytes, the file {file_bytes}"
        )


def numpy_dtype(name):
    """NumPy's dtype of a name; bfloat16 is not its own."""
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def demand_floats(checkpoint, key):
    """Raises WeightsError for a tensor of a checkpoint that is not of floats."""
    dtype = checkpoint.tensors[key].dtype
    if dtype not in FLOATS:
        raise WeightsError(
            f"{checkpoint.path}: {key} is of dtype {dtype}, not of floats ({', '.join(FLOATS)}). "
            "Quantized weights cannot be loaded."
        )


def read_finite(checkpoint, key):
    """The array of a tensor of a checkpoint.

    Raises:
        WeightsError: it is not of floats, or holds values that are not finite.
    """
    demand_floats(checkpoint, key)
    array = checkpoint.tensors[key].load()
    with np.errstate(invalid="ignore"):  # which a signalling NaN is
        num_bad = int(array.size - np.count_nonzero(np.isfinite(array)))
    if num_bad:
        raise WeightsError(
            f"{checkpoint.path}: {key} holds {num_bad} of {array.size} values that are not finite "
            "(NaN or Inf). The run that wrote it had diverged, or the file is damaged."
        )
    return array


def cast(array, dtype, key):
    """The array in another dtype.

    Raises:
        WeightsError: a value does not fit.
    """
    wanted = numpy_dtype(dtype)
    if array.dtype == wanted:
        return array
    with np.errstate(over="ignore"):
        result = array.astype(wanted)
    if not np.isfinite(result).all():
        raise WeightsError(f"{key} holds values too large for {dtype}. Choose another dtype.")
    return result
