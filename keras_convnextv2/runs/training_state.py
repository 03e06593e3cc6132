"""All that training steps read and write, as arrays by name."""

import keras
import numpy as np

from keras_convnextv2 import insides
from keras_convnextv2.runs.errors import CheckpointError
from keras_convnextv2.training import distribution
from keras_convnextv2.weights.model_weights import named_weights

_METRICS = "metrics"


def weights_of(model):
    """{name: Keras variable} of a model's weights, as `save_weights` names them.

    Those of the backbone for an FCMAE with a decoder of somebody's own, none of a quantized model:
    `others_of` has the rest.
    """
    try:
        named = named_weights(model)
    except ValueError:
        try:
            named = named_weights(model.backbone)
        except (ValueError, AttributeError):
            return {}
    return {name: v for name, v in named.items() if isinstance(v, keras.Variable)}


def others_of(model, weights):
    """{name: Keras variable} of the rest: what counts steps and draws, and the optimizer's.

    The optimizer's are numbered: they come in one order on every backend.

    Args:
        model: compiled.
        weights: what `weights_of` gives of it.
    """
    named = {id(variable) for variable in weights.values()}
    rest = [variable for variable in model.variables if id(variable) not in named]
    return _numbered("model", rest) | _numbered("optimizer", model.optimizer.variables)


def metrics_of(model):
    """{name: Keras variable} of the metrics in progress, of the epoch so far."""
    return _numbered(_METRICS, model.metrics_variables)


def copied(variables, buffers):
    """{name: NumPy array}, copies of variables that training goes on to change.

    Replicas of TensorFlow count each metric for all, and it reads their sum: a copy is that of one.

    Args:
        variables: {name: Keras variable}.
        buffers: dict of arrays by name, which are written over and returned: memory that a program
            has used before is several times faster to write to. What it lacks is added to it.
    """
    copies = {}
    for name, variable in variables.items():
        value = _readable(variable)
        buffer = buffers.get(name)
        if buffer is None or (buffer.shape, buffer.dtype) != (value.shape, value.dtype):
            buffer = buffers[name] = np.empty(value.shape, value.dtype)
        np.copyto(buffer, value)
        if name.startswith(_METRICS) and _num_counting() > 1:
            buffer[...] = buffer / _num_counting()
        copies[name] = buffer
    return copies


def _readable(variable):
    """A variable as NumPy reads it: its own memory, where NumPy has the dtype and the device."""
    value = variable.value
    try:
        return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError):  # as bfloat16, or TensorFlow's of several replicas
        return keras.ops.convert_to_numpy(variable)


def bring_up_to_date(model):
    """On JAX, gives the variables the values that Keras holds outside them while it steps."""
    if keras.backend.backend() == "jax":
        insides.weights_from_state_of_steps(model)


def check(variables, shapes):
    """Compares variables with what a checkpoint holds.

    Backends count in integers of different sizes, which count as equal.

    Args:
        variables: {name: Keras variable}.
        shapes: {name: (shape, name of the dtype)} of the checkpoint.

    Raises:
        CheckpointError: naming the first that differs.
    """
    wanted = {name: (tuple(v.shape), _dtype(v.dtype)) for name, v in variables.items()}
    shapes = {name: (shape, _dtype(dtype)) for name, (shape, dtype) in shapes.items()}
    names = [*wanted, *(name for name in shapes if name not in wanted)]
    for name in names:
        if wanted.get(name) != shapes.get(name):
            raise CheckpointError(
                f"it holds {_shown(shapes.get(name))} for {name}, where the model, as it was "
                f"compiled, has {_shown(wanted.get(name))}"
            )


def assign(variables, arrays):
    """Gives variables the values of a checkpoint, which have been checked."""
    for name, variable in variables.items():
        dtype = keras.backend.standardize_dtype(variable.dtype)
        array = arrays[name] * _num_counting() if name.startswith(_METRICS) else arrays[name]
        variable.assign(array if array.dtype.name == dtype else array.astype(dtype))


def _num_counting():
    """How many replicas count a metric, whose counts are read as one sum."""
    return distribution.devices().count if keras.backend.backend() == "tensorflow" else 1


def _dtype(dtype):
    name = keras.backend.standardize_dtype(dtype)
    return "integers" if "int" in name else name


def _numbered(kind, variables):
    return {f"{kind}/{place:04d}": variable for place, variable in enumerate(variables)}


def _shown(entry):
    return "nothing" if entry is None else f"{entry[1]} {list(entry[0])}"
