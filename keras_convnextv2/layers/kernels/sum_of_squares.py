import keras


def sum_of_squares(tensors):
    """The sum of squares of all values of a list of tensors, float32 ().

    Vectors are joined first: a model has hundreds of them, all small, and each would be summed by
    operations of its own.
    """
    ops = keras.ops
    tensors = [ops.cast(x, "float32") for x in tensors]
    vectors = [x for x in tensors if len(x.shape) == 1]
    others = [x for x in tensors if len(x.shape) != 1]
    if vectors:
        others.append(ops.concatenate(vectors))
    return sum((_of_one(x) for x in others), start=ops.zeros(()))


def _of_one(x):
    """In one pass where the backend has it."""
    backend = keras.backend.backend()
    if backend == "torch":
        x = x.reshape(-1)
        return x.dot(x)
    if backend == "tensorflow":
        import tensorflow as tf

        return 2.0 * tf.nn.l2_loss(x)
    # One loop for XLA, but of gradients: it keeps the squares, which AdamW takes too.
    return keras.ops.sum(keras.ops.square(x))
