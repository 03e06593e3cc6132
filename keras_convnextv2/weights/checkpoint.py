"""A checkpoint that has been opened: what it holds, before any of it is read."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_convnextv2.weights.description import Description
from keras_convnextv2.weights.errors import WeightsError

FLOATS = ("float32", "float16", "bfloat16", "float64")


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


@dataclasses.dataclass
class Checkpoint:
    """What a file, or a folder, holds.

    Args:
        path: of the file, for messages.
        container: kind of file.
        tensors: {key: StoredTensor}.
        description: what comes along.
        details: what else is worth showing: the epoch, the names of other entries.
        model_config: of a `.keras` file, what its model was built with, else None.
    """

    path: Path
    container: str
    tensors: dict
    description: Description = Description()
    details: dict = dataclasses.field(default_factory=dict)
    model_config: dict | None = None


def numpy_dtype(name):
    """NumPy's dtype of a name; bfloat16 is not its own."""
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def read_finite(tensor, key, path):
    """The array of a stored tensor.

    Raises:
        WeightsError: it is not of floats, or holds values that are not finite.
    """
    if tensor.dtype not in FLOATS:
        raise WeightsError(
            f"{path}: {key} is of dtype {tensor.dtype}, not of floats ({', '.join(FLOATS)}). "
            "Quantized weights cannot be loaded."
        )
    array = tensor.load()
    if not np.isfinite(array).all():
        bad = int(array.size - np.count_nonzero(np.isfinite(array)))
        raise WeightsError(
            f"{path}: {key} holds {bad} of {array.size} values that are not finite (NaN or Inf). "
            "The run that wrote it had diverged, or the file is damaged."
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
