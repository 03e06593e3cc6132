import keras


def sum_of_squares(tensors):
    """The sum of squares of all values of a list of tensors, float32 ().

    Vectors are joined first: a model has hundreds of them, all small, and each would be summed by
    operations of its own.
    """
    vectors = [keras.ops.cast(x, "float32") for x in tensors if len(x.shape) == 1]
    others = [x for x in tensors if len(x.shape) != 1]
    joined = [keras.ops.concatenate(vectors)] if vectors else []
    return sum(map(_of_one, [*others, *joined]), start=keras.ops.zeros((), "float32"))


def _of_one(x):
    """The sum for one tensor, in one pass where the backend has it."""
    x = keras.ops.cast(x, "float32")
    backend = keras.backend.backend()
    if backend == "torch":
        x = x.reshape(-1)
        return x.dot(x)
    if backend == "tensorflow":
        import tensorflow as tf

        return 2.0 * tf.nn.l2_loss(x)
    # One loop for XLA, but of gradients: it keeps the squares, which AdamW takes too.
    return keras.ops.sum(keras.ops.square(x))
