import keras


def custom_gradient(function):
    """`keras.ops.custom_gradient` with one signature for the gradient on every backend.

    Args:
        function: takes tensors and returns (y, gradient), where `gradient` takes the gradient for
            y alone and returns those for the tensors. Keras on torch (3.15) would pass it the
            tensors too.
    """

    def with_one_signature(*tensors):
        y, gradient = function(*tensors)
        return y, lambda *passed, upstream=None: gradient(
            passed[0] if upstream is None else upstream
        )

    return keras.ops.custom_gradient(with_one_signature)
