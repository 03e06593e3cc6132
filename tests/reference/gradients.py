"""Gradients on the current backend, without the package's own training step."""

import keras
import numpy as np


def gradients_of(function, variables):
    """The gradients of a scalar by Keras variables.

    Args:
        function: called without arguments; reads `variables`.
        variables: list of Keras variables.

    Returns:
        List of NumPy float32 arrays, or None for a variable the scalar does not depend on.
    """
    return gradients_and_results(lambda: (function(), ()), variables)[0]


def gradients_and_results(function, variables):
    """As `gradients_of`, and what was computed on the way, in one pass and one program.

    Args:
        function: called without arguments; gives the scalar, and tensors.
        variables: list of Keras variables.

    Returns:
        The gradients, and the tensors as NumPy arrays.
    """
    of_backend = {"tensorflow": _tensorflow, "torch": _torch, "jax": _jax}
    gradients, results = of_backend[keras.backend.backend()](function, variables)
    gradients = [
        None if gradient is None else np.asarray(keras.ops.convert_to_numpy(gradient), "float32")
        for gradient in gradients
    ]
    return gradients, keras.tree.map_structure(keras.ops.convert_to_numpy, results)


def _tensorflow(function, variables):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value, results = function()
    return tape.gradient(value, [variable.value for variable in variables]), results


def _torch(function, variables):
    import torch

    value, results = function()
    values = [variable.value for variable in variables]
    return torch.autograd.grad(value, values, allow_unused=True), results


def _jax(function, variables):
    import jax

    def pure(values):
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return function()

    gradient = jax.jit(jax.grad(pure, has_aux=True))
    return gradient([variable.value for variable in variables])
