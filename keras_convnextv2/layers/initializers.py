import keras


def weight_initializer(scale=1.0):
    """The initializer of every kernel and of the mask token: normal with std .02, times `scale`.

    The official code calls truncated normal with bounds -2 and 2 in absolute units. At std .02
    these are 100 standard deviations, so it is a plain normal; Keras's TruncatedNormal, which
    cuts at two standard deviations, would give std .0176.
    """
    return keras.initializers.RandomNormal(mean=0.0, stddev=0.02 * scale)
