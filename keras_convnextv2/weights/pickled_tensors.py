"""Reading the pickles of PyTorch files without running what they name.

A pickle is a program: it may import and call anything. This reader gives it a short list of names,
most of them stand-ins made here, and the opcodes that PyTorch writes. PyTorch itself is not needed.
"""

import argparse
import collections
import dataclasses
import math
import pickle

from keras_convnextv2.weights.errors import WeightsError

# A state dict's pickle has about 200 bytes a tensor. Objects take more room than their opcodes.
MAX_PICKLE_BYTES = 16 * 2**20

_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
STORAGE_TYPES = {dtype: name for name, dtype in _DTYPES.items()}


@dataclasses.dataclass(frozen=True)
class Storage:
    """Numbers in the file that tensors are views of."""

    key: str
    dtype: str
    num_values: int


@dataclasses.dataclass(frozen=True)
class View:
    """A tensor: strides in values into a storage, as in PyTorch. Lies within it."""

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple

    @property
    def extent(self):
        """The number of values from the first to the last."""
        if 0 in self.shape:
            return 0
        return 1 + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))


class _Opaque:
    """Stands for an object whose content is of no interest, such as a NumPy number."""

    def __init__(self, *arguments):
        pass

    def __setstate__(self, state):
        pass


def _demand(condition, problem):
    if not condition:
        raise ValueError(problem)


def _rebuild_tensor(storage, offset, shape, strides, *_):
    _demand(isinstance(storage, Storage), "a tensor without a storage")
    numbers = (offset, *shape, *strides)
    _demand(all(type(n) is int and n >= 0 for n in numbers), f"a tensor of sizes {numbers}")
    _demand(len(shape) == len(strides), f"a tensor of shape {shape} with strides {strides}")
    view = View(storage, offset, tuple(shape), tuple(strides))
    values = math.prod(shape)
    _demand(
        max(values, offset + view.extent) <= storage.num_values,
        f"a tensor of shape {shape} in a storage of {storage.num_values} values",
    )
    return view


def _rebuild_parameter(data, *_):
    return data


_HARMLESS = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("argparse", "Namespace"): argparse.Namespace,  # the official code's `args`
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): tuple,
    ("torch", "device"): _Opaque,
    ("_codecs", "encode"): _Opaque,
    **{("torch", name): dtype for name, dtype in _DTYPES.items()},
    **{
        (module, name): _Opaque
        for module, name in (
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "scalar"),
            ("numpy._core.multiarray", "scalar"),
        )
    },
    **{
        (module, name): kind
        for module in ("builtins", "__builtin__")
        for name, kind in (("set", set), ("frozenset", frozenset))
    },
}

_FORBIDDEN_OPCODES = (
    pickle.BYTEARRAY8,  # makes room by a number in the file before it reads
    pickle.NEXT_BUFFER,
    pickle.READONLY_BUFFER,
    pickle.EXT1,
    pickle.EXT2,
    pickle.EXT4,
    pickle.INST,
    pickle.OBJ,
)


# The Python one: that in C makes room for its memo by numbers in the file.
class _Unpickler(pickle._Unpickler):
    dispatch = {
        opcode: function
        for opcode, function in pickle._Unpickler.dispatch.items()
        if opcode not in [code[0] for code in _FORBIDDEN_OPCODES]
    }

    def __init__(self, file):
        super().__init__(file, encoding="utf-8")
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) not in _HARMLESS:
            raise WeightsError(
                f"it holds a pickled {module}.{name}, which is not among the types known to be "
                "harmless; nothing of it was run. If you trust where the file comes from, load it "
                "with PyTorch and save the state dict alone: torch.save({'model': "
                "torch.load(path, weights_only=False)['model']}, new_path)"
            )
        return _HARMLESS[module, name]

    def persistent_load(self, key):
        _demand(isinstance(key, tuple) and len(key) in (5, 6), f"a storage written as {key!r}")
        kind, dtype, name, _, num_values = key[:5]
        _demand(kind == "storage" and dtype in _DTYPES.values(), f"a storage of type {dtype!r}")
        _demand(isinstance(name, str), f"a storage named {name!r}")
        _demand(type(num_values) is int and num_values >= 0, f"a storage of {num_values!r} values")
        _demand(len(key) == 5 or key[5] is None, "a view of a part of a storage")
        storage = self.storages.setdefault(name, Storage(name, dtype, num_values))
        _demand(storage == Storage(name, dtype, num_values), f"two storages named {name!r}")
        return storage


def unpickle(file):
    """Reads the next pickle of a binary file.

    Returns:
        (plain Python objects with a `View` for each tensor, {key: Storage}).

    Raises:
        WeightsError: it names something that is not on the list.
        Exception: of any type, where it is damaged.
    """
    unpickler = _Unpickler(file)
    return unpickler.load(), unpickler.storages
