"""The two steps of GRN's formula that its plain and its faster way share.

Each is given the module that computes: `keras.ops`, or torch itself, which has the same functions
under the same names, without what Keras looks at before each.
"""


def guarded_root(numpy, energy):
    """The square root, with a gradient of 0 at 0, where an all-zero channel puts it."""
    silent = energy == 0.0
    return numpy.where(silent, 0.0, numpy.sqrt(numpy.where(silent, 1.0, energy)))


def response(numpy, norm, epsilon):
    """(norm / (its mean over channels + epsilon), that divisor), norm being (B, 1, 1, C)."""
    divisor = numpy.mean(norm, axis=-1, keepdims=True) + epsilon
    return norm / divisor, divisor
