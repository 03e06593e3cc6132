"""Which operation is computed in a faster way, and where."""

import dataclasses
import functools
from collections.abc import Callable

import keras

from keras_convnextv2.layers.fast import adamw
from keras_convnextv2.layers.fast import jax as on_jax
from keras_convnextv2.layers.fast import tensorflow as on_tensorflow
from keras_convnextv2.layers.fast import torch as on_torch
from keras_convnextv2.layers.fast.backend import device

_FLOATS = ("float32", "bfloat16", "float16")
_WITHOUT_FLOAT16 = ("float32", "bfloat16")  # which must saturate, as the plain way does
_ANY = ()


@dataclasses.dataclass(frozen=True)
class Entry:
    """A faster way for one operation of `ops` on one backend and device.

    Args:
        way: a function that takes and gives what the operation of `ops` does. Of "adamw", which
            the optimizer asks for, it is an `adamw.AdamWUpdate`; of "windows", see
            `takes_windows`, True.
        dtypes: of the first tensor; none for any.
        fits: of the operation's arguments, whether this way is the faster one for them.
    """

    way: object
    dtypes: tuple = _FLOATS
    fits: Callable = lambda *arguments: True


# (operation, backend, device): all were measured on a CPU alone, and are taken on a CPU alone.
TABLE = {
    ("depthwise", "jax", "cpu"): Entry(on_jax.depthwise, fits=on_jax.is_of_known_size),
    ("depthwise", "tensorflow", "cpu"): Entry(on_tensorflow.depthwise),
    ("depthwise", "torch", "cpu"): Entry(on_torch.depthwise),
    ("depthwise_on_strip", "jax", "cpu"): Entry(on_jax.depthwise_on_strip),
    ("depthwise_on_strip", "tensorflow", "cpu"): Entry(on_tensorflow.depthwise_on_strip),
    ("depthwise_on_strip", "torch", "cpu"): Entry(on_torch.depthwise_on_strip),
    ("windows", "jax", "cpu"): Entry(True, _ANY),
    ("windows", "tensorflow", "cpu"): Entry(True, _ANY),
    ("windows", "torch", "cpu"): Entry(True, _ANY),
    ("patch_convolution", "jax", "cpu"): Entry(
        on_jax.patch_convolution, fits=on_jax.is_of_known_size
    ),
    ("patch_convolution", "tensorflow", "cpu"): Entry(
        on_tensorflow.patch_convolution, ("bfloat16",), on_tensorflow.has_wide_rows
    ),
    ("patch_convolution", "torch", "cpu"): Entry(
        on_torch.patch_convolution, fits=on_torch.takes_patches
    ),
    ("linear", "jax", "cpu"): Entry(on_jax.linear, ("bfloat16",)),
    ("linear", "torch", "cpu"): Entry(on_torch.linear),
    ("layer_norm", "torch", "cpu"): Entry(on_torch.layer_norm),
    ("gelu_grn", "jax", "cpu"): Entry(on_jax.gelu_grn, _WITHOUT_FLOAT16),
    ("gelu_grn", "tensorflow", "cpu"): Entry(on_tensorflow.gelu_grn, _WITHOUT_FLOAT16),
    ("gelu_grn", "torch", "cpu"): Entry(on_torch.gelu_grn, _WITHOUT_FLOAT16),
    ("take_rows", "jax", "cpu"): Entry(on_jax.take_rows, _ANY),
    ("take_rows", "torch", "cpu"): Entry(on_torch.take_rows, _ANY),
    ("move_rows", "tensorflow", "cpu"): Entry(on_tensorflow.move_rows, _ANY),
    ("move_rows", "torch", "cpu"): Entry(on_torch.move_rows, _ANY),
    ("reshape", "torch", "cpu"): Entry(on_torch.reshape, _ANY),
    ("computed_once", "jax", "cpu"): Entry(on_jax.computed_once, _ANY),
    ("sum_of_squares", "jax", "cpu"): Entry(on_jax.sum_of_squares),
    ("sum_of_squares", "tensorflow", "cpu"): Entry(on_tensorflow.sum_of_squares),
    ("sum_of_squares", "torch", "cpu"): Entry(on_torch.sum_of_squares),
    ("adamw", "jax", "cpu"): Entry(adamw.JAX, _ANY),
    ("adamw", "tensorflow", "cpu"): Entry(adamw.TENSORFLOW, _ANY),
    ("adamw", "torch", "cpu"): Entry(adamw.TORCH, _ANY, adamw.takes_torch),
}
_MIN_WINDOW_SIDE = 4
_chosen = {"paths": "auto"}


def set_fast_paths(paths="auto"):
    """Says which faster ways of computing this process may take.

    All ways give the same values and gradients but for rounding. What is already compiled stays as
    it was compiled. The choice is not saved with a model.

    Args:
        paths: "auto", all that were measured to be faster on this backend and device; "off", none:
            everything is computed by the plain operations of `layers/ops.py` and Keras's own
            optimizer; or a set of names of `operations()`, those alone.

    Returns:
        What was set before.

    Raises:
        ValueError: `paths` is none of these.

    Examples:
        >>> import keras_convnextv2 as kc
        >>> before = kc.set_fast_paths("off")
        >>> kc.set_fast_paths(before)
        'off'
    """
    before = _chosen["paths"]
    if isinstance(paths, str):
        known = paths in ("auto", "off")
    else:
        paths = frozenset(paths)
        known = paths <= set(operations())
    if not known:
        raise ValueError(
            '`paths` must be "auto", "off" or a set of names among '
            f"{', '.join(operations())}. Received: {paths!r}"
        )
    _chosen["paths"] = paths
    return before


def operations():
    """The names of the operations that have a faster way somewhere."""
    return tuple(dict.fromkeys(operation for operation, _, _ in TABLE))


def find(operation, *arguments):
    """The faster way to an operation for these arguments, or None.

    The first argument, a tensor or a list of tensors of one kind, tells the device and the dtype.
    """
    paths = _chosen["paths"]
    if paths == "off" or (paths != "auto" and operation not in paths):
        return None
    tensor = arguments[0]
    if isinstance(tensor, (list, tuple)):
        if not tensor:
            return None
        tensor = tensor[0]
    entry = TABLE.get((operation, keras.backend.backend(), device(tensor)))
    if entry is None:
        return None
    if entry.dtypes and keras.backend.standardize_dtype(tensor.dtype) not in entry.dtypes:
        return None
    return entry.way if entry.fits(*arguments) else None


def fast_where_possible(plain):
    """Decorates an operation of `ops`: the table's way where it has one, else the plain one.

    The plain one stays at hand as the attribute `plain`.
    """
    name = plain.__name__

    @functools.wraps(plain)
    def operation(*arguments):
        return (find(name, *arguments) or plain)(*arguments)

    operation.plain = plain
    return operation


def takes_windows(side, numbers):
    """Whether patches of `side` positions are convolved as windows, with what is around each.

    A map is computed where nothing is visible too, a window is read where patches overlap. Measured
    on a CPU with a kernel of 7 and 19 of 49 patches visible: windows take a third (JAX) to three
    fifths (torch) of the map's time for patches of 8 positions, about four fifths for 4, and more
    than it for 2.

    Args:
        side: int, p.
        numbers: a tensor on the device that will compute.
    """
    return side >= _MIN_WINDOW_SIDE and find("windows", numbers) is not None
