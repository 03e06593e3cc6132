import keras


def sum_of_squares(x):
    """The sum of squares of all values, float32 (), in one pass over them on each backend."""
    ops = keras.ops
    x = ops.cast(x, "float32")
    backend = keras.backend.backend()
    if backend == "torch":
        x = x.reshape(-1)
        return x.dot(x)
    if backend == "tensorflow":
        import tensorflow as tf

        return 2.0 * tf.nn.l2_loss(x)
    return ops.sum(ops.square(x))  # which XLA makes one loop of
