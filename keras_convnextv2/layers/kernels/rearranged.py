"""Rearranging without what Keras (3.15) does around it.

On torch `keras.ops.reshape` searches the shape for symbolic tensors, and `keras.ops.take` looks for
negative numbers: more work than the operations of a small block. On JAX a program holds
instructions for negative numbers, and for numbers out of bounds, at each `keras.ops.take`.
"""

import keras


def reshape(x, shape):
    """`keras.ops.reshape` of a tensor."""
    if keras.backend.backend() == "torch":
        return x.reshape(shape)
    return keras.ops.reshape(x, shape)


def take_rows(x, numbers):
    """The rows of x (N, D) by their numbers, an int32 tensor of any shape: (its size, D).

    The numbers are from 0 to N - 1; what others give is not defined.
    """
    numbers = reshape(numbers, (-1,))
    if keras.backend.backend() == "torch":
        return x.index_select(0, numbers)
    if keras.backend.backend() == "jax":
        return x.at[numbers].get(mode="promise_in_bounds", wrap_negative_indices=False)
    return keras.ops.take(x, numbers, axis=0)


def take_rows_or_zeros(x, numbers):
    """As `take_rows`, and zeros for the number N; on JAX for all above it too."""
    if keras.backend.backend() == "jax":  # without a copy of x
        numbers = numbers.reshape(-1)
        return x.at[numbers].get(mode="fill", fill_value=0, wrap_negative_indices=False)
    nothing = keras.ops.zeros((1, x.shape[-1]), x.dtype)
    return take_rows(keras.ops.concatenate([x, nothing]), numbers)
