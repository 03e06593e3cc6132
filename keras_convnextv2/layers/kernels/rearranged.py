"""Rearranging without what Keras (3.15) does around it on torch.

There `keras.ops.reshape` searches the shape for symbolic tensors, and `keras.ops.take` looks for
negative numbers: more work than the operations of a small block.
"""

import keras


def reshape(x, shape):
    """`keras.ops.reshape` of a tensor."""
    if keras.backend.backend() == "torch":
        return x.reshape(shape)
    return keras.ops.reshape(x, shape)


def take_rows(x, numbers):
    """The rows of x (N, D) by their numbers, an int32 tensor of any shape: (its size, D)."""
    numbers = reshape(numbers, (-1,))
    if keras.backend.backend() == "torch":
        return x.index_select(0, numbers)
    return keras.ops.take(x, numbers, axis=0)
