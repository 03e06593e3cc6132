"""Reading the pickles of PyTorch files without running what they name.

A pickle is a program: it may import and call anything. This reader gives it a short list of names,
most of them stand-ins made here, and the opcodes that PyTorch writes. What it makes is as large as
the pickle, times a constant, in time proportional to it. PyTorch itself is not needed.
"""

import argparse
import dataclasses
import pickle

from keras_convnextv2.weights.checkpoint import demand_array_shape
from keras_convnextv2.weights.errors import WeightsError

_MAX_ARGUMENTS = 8  # `_rebuild_tensor_v2` has seven

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


_OPAQUE = _Opaque()


def _demand(condition, problem):
    if not condition:
        raise ValueError(problem)


def _is_count(value):
    return type(value) is int and 0 <= value < 2**63


def _rebuild_tensor(storage, offset, shape, strides, *_):
    _demand(type(storage) is Storage, "a tensor without a storage")
    _demand(type(shape) is type(strides) is tuple, "a tensor whose shape is no tuple")
    _demand(len(shape) == len(strides), "a tensor with more sides than strides, or fewer")
    demand_array_shape(shape)
    _demand(_is_count(offset) and all(map(_is_count, strides)), "a tensor of negative strides")
    # PyTorch writes anything as the stride of a side of one.
    strides = tuple(step if side > 1 else 0 for side, step in zip(shape, strides, strict=True))
    view = View(storage, offset, shape, strides)
    _demand(
        offset + view.extent <= storage.num_values,
        f"a tensor of shape {shape} in a storage of {storage.num_values} values",
    )
    return view


def _size(sides):
    _demand(type(sides) is tuple, "a torch.Size of no tuple")
    return sides


_HARMLESS = {
    ("collections", "OrderedDict"): lambda: {},
    ("argparse", "Namespace"): argparse.Namespace,  # the official code's `args`
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch", "Size"): _size,
    **{("torch", name): dtype for name, dtype in _DTYPES.items()},
    **{
        (module, name): lambda *_: _OPAQUE
        for module, names in (
            ("torch", "device float32 float16 bfloat16"),
            ("pathlib", "PosixPath WindowsPath"),
            ("_codecs", "encode"),
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "scalar"),
            ("numpy._core.multiarray", "scalar"),
            ("builtins", "set frozenset"),
            ("__builtin__", "set frozenset"),
        )
        for name in names.split()
    },
}

# The first makes room by a number in the file before it reads, the last three read numbers of
# millions of digits.
_FORBIDDEN = (
    "BYTEARRAY8 NEXT_BUFFER READONLY_BUFFER EXT1 EXT2 EXT4 INST OBJ NEWOBJ_EX DICT INT LONG LONG4"
)


# The Python one: that in C makes room for its memo by numbers in the file.
class _Unpickler(pickle._Unpickler):
    def __init__(self, file):
        super().__init__(file, encoding="utf-8")
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) not in _HARMLESS:
            shown = repr(f"{module}.{name}"[:100])[1:-1]
            raise WeightsError(
                f"it holds a pickled {shown}, which is not among the types known to be harmless; "
                "nothing of it was run. If you trust where the file comes from, load it with "
                "PyTorch and save the state dict alone: torch.save({'model': torch.load(path, "
                "weights_only=False)['model']}, new_path), or of a whole module its .state_dict()"
            )
        return _HARMLESS[module, name]

    def persistent_load(self, key):
        _demand(type(key) is tuple and len(key) in (5, 6), "a storage of another form")
        kind, dtype, name, _, num_values = key[:5]
        _demand(kind == "storage" and dtype in _DTYPES.values(), "a storage of another type")
        _demand(type(name) is str and _is_count(num_values), "a storage without a name or a size")
        _demand(len(key) == 5 or key[5] is None, "a view of a part of a storage")
        storage = self.storages.setdefault(name, Storage(name, dtype, num_values))
        _demand(storage == Storage(name, dtype, num_values), f"two storages named {name!r}")
        return storage

    def _call(self):
        arguments = self.stack.pop()
        # Many calls with many arguments would take time without end.
        _demand(type(arguments) is tuple and len(arguments) <= _MAX_ARGUMENTS, "a call so long")
        self.stack[-1] = self.stack[-1](*arguments)

    def _set_state(self):
        """Only an `args` has a state of interest. That of others could undo what was checked."""
        state = self.stack.pop()
        if type(self.stack[-1]) is argparse.Namespace and type(state) is dict:
            self.stack[-1].__dict__ = state  # no copy, of which a file could ask for many

    def _set_item(self):
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def _set_items(self):
        self._set(self.pop_mark())

    def _set(self, items):
        """Strings are the keys of interest. The hash of a deep tuple would overflow the stack."""
        _demand(type(self.stack[-1]) is dict, "items for what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is str:
                _demand(key not in self.stack[-1], f"the key {key[:80]!r} twice")
                self.stack[-1][key] = value

    def _make_set(self):
        self.append(_OPAQUE)

    def _make_frozen_set(self):
        self.pop_mark()
        self.append(_OPAQUE)

    def _add_to_set(self):
        self.pop_mark()

    def _refuse(self):
        raise WeightsError("its pickle has opcodes that PyTorch does not write")

    dispatch = {
        **pickle._Unpickler.dispatch,
        **dict.fromkeys([getattr(pickle, name)[0] for name in _FORBIDDEN.split()], _refuse),
        pickle.REDUCE[0]: _call,
        pickle.NEWOBJ[0]: _call,
        pickle.BUILD[0]: _set_state,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.EMPTY_SET[0]: _make_set,
        pickle.FROZENSET[0]: _make_frozen_set,
        pickle.ADDITEMS[0]: _add_to_set,
    }


def unpickle(file):
    """Reads the next pickle of a binary file.

    Only keys that are strings are kept.

    Returns:
        (plain Python objects with a `View` for each tensor, {key: Storage}).

    Raises:
        WeightsError: it names something that is not on the list.
        Exception: of any type, where it is damaged.
    """
    unpickler = _Unpickler(file)
    return unpickler.load(), unpickler.storages
