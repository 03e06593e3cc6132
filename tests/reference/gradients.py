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
    gradients = {"tensorflow": _tensorflow, "torch": _torch, "jax": _jax}[keras.backend.backend()](
        function, variables
    )
    return [
        None if gradient is None else np.asarray(keras.ops.convert_to_numpy(gradient), "float32")
        for gradient in gradients
    ]


def _tensorflow(function, variables):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = function()
    return tape.gradient(value, [variable.value for variable in variables])


def _torch(function, variables):
    import torch

    return torch.autograd.grad(
        function(), [variable.value for variable in variables], allow_unused=True
    )


def _jax(function, variables):
    import jax

    def pure(values):
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return function()

    return jax.jit(jax.grad(pure))([variable.value for variable in variables])
