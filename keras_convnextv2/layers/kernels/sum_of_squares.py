import keras


def sum_of_squares(x):
    """The sum of squares of all values, float32 (), in one pass where the backend has it."""
    ops = keras.ops
    x = ops.cast(x, "float32")
    backend = keras.backend.backend()
    if backend == "torch":
        x = x.reshape(-1)
        return x.dot(x)
    if backend == "tensorflow":
        import tensorflow as tf

        return 2.0 * tf.nn.l2_loss(x)
    # One loop for XLA, but of gradients: it keeps the squares, which AdamW takes too.
    return ops.sum(ops.square(x))
