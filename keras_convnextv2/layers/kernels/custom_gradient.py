import keras


def custom_gradient(function):
    """`keras.ops.custom_gradient` with one signature for the gradient on every backend.

    Args:
        function: takes tensors and returns (y, gradient), where `gradient` takes the gradient for
            y alone and returns those for the tensors. Keras on torch (3.15) would pass it the
            tensors too. On TensorFlow a variable among the tensors is read first. Where torch
            exports or computes no gradient, the function is called as it is.
    """

    def with_one_signature(*tensors):
        y, gradient = function(*tensors)
        return y, lambda *passed, upstream=None: gradient(
            passed[0] if upstream is None else upstream
        )

    backend = keras.backend.backend()
    decorated = keras.ops.custom_gradient(with_one_signature)
    if backend == "tensorflow":
        import tensorflow as tf

        return lambda *tensors: decorated(*map(tf.convert_to_tensor, tensors))
    if backend == "torch":
        import torch

        if torch.compiler.is_exporting() or not torch.is_grad_enabled():
            return lambda *tensors: function(*tensors)[0]
    return decorated


def recomputed_after(upstream, x):
    """`x`, but so that what a gradient computes from it is not what was computed before.

    In a graph, equal computations become one, whose result would be kept from the forward pass to
    the gradient, where `upstream` is what begins it.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.lax.optimization_barrier((x, upstream))[0]
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.control_dependencies([upstream]):
            return tf.identity(x)
    return x
