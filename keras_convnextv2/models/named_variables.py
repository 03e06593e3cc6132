"""What the variables within a layer are called, here and in the files that Keras saves."""

import collections
import dataclasses
import functools
import re

import keras


@dataclasses.dataclass(frozen=True)
class Weight:
    """A weight of a model: its name, its shape, and its path in the files that Keras saves."""

    name: str
    shape: tuple
    saved_as: str


def named_variables(layer, name=None, place=""):
    """[(`Weight`, variable)] of a layer that has been built.

    Args:
        layer: a layer, of which counters are left out.
        name: what its weights' names begin with; None for its own name.
        place: what their paths in a file begin with.
    """
    name = name or layer.name
    found = {}
    for path, child in _children(layer):
        for weight, variable in named_variables(child, f"{name}/{child.name}", f"{place}/{path}"):
            found[id(variable)] = weight
    own = [variable for variable in layer.weights if id(variable) not in found]
    for number, variable in enumerate(own):
        found[id(variable)] = Weight(
            f"{name}/{variable.name}", tuple(variable.shape), f"{place}/vars/{number}"
        )
    return [(found[id(variable)], variable) for variable in layer.weights if _is_float(variable)]


def _is_float(variable):
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(variable.dtype))


def _children(layer):
    """Yields (path, layer within), as Keras saves them: by attribute, in a list by class."""
    for attribute in sorted(set(dir(layer)) - _of_any_layer()):
        value = None if attribute.startswith("_") else getattr(layer, attribute, None)
        if isinstance(value, keras.layers.Layer):
            yield attribute, value
        elif isinstance(value, list):
            counts = collections.Counter()
            for child in value:
                if isinstance(child, keras.layers.Layer):
                    kind = snake_case(child)
                    yield f"{attribute}/{numbered(kind, counts[kind])}", child
                    counts[kind] += 1


@functools.cache
def _of_any_layer():
    return frozenset(dir(keras.layers.Layer))


def numbered(name, number):
    """The name of one of several in a file of Keras, counted from 0."""
    return f"{name}_{number}" if number else name


def snake_case(layer):
    """What Keras makes of the name of a layer's class."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
