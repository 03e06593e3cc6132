import keras


def custom_gradient(function, gradient):
    """A function of tensors with a gradient of its own, on every backend.

    Args:
        function: takes tensors and returns (y, kept), where `kept` is a tuple of tensors that the
            gradient takes from the forward pass.
        gradient: takes the gradient for y, the tensors, `kept`, and for each tensor whether its
            gradient is needed; returns a gradient, or None where none is, for each.

    Returns:
        The function that takes the tensors and returns y. Where torch exports a program, or
        computes no gradient, it is `function` alone.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        if torch.compiler.is_exporting() or not torch.is_grad_enabled():
            return lambda *tensors: function(*tensors)[0]
        from keras_convnextv2.layers.fast.torch_function import FunctionWithGradient

        return lambda *tensors: FunctionWithGradient.apply(function, gradient, *tensors)[0]

    @keras.ops.custom_gradient
    def with_gradient(*tensors):
        y, kept = function(*tensors)
        needed = (True,) * len(tensors)  # what is not is left out when the step is compiled
        return y, lambda upstream: gradient(upstream, tensors, kept, needed)

    if backend == "jax":
        return with_gradient
    import tensorflow as tf

    # It refuses variables.
    return lambda *tensors: with_gradient(*map(tf.convert_to_tensor, tensors))


def with_move_back(move, x, numbers, back):
    """`move(x, numbers)`, whose gradient is the move back, where that of a gather is a scatter."""

    def forward(x):
        return move(x, numbers), ()

    def gradient(upstream, *_):
        return (move(upstream, back),)

    return custom_gradient(forward, gradient)(x)


def recomputed_after(upstream, x):
    """`x`, but so that what a gradient computes from it is not what was computed before.

    In a graph, equal computations become one, whose result would be kept from the forward pass to
    the gradient, where `upstream` is what begins it. And TensorFlow, and XLA on a CPU, begin what
    they can as soon as `x` is there.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        from keras_convnextv2.layers.fast import jax_order

        return jax_order.recomputed_after(upstream, x)
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.control_dependencies([upstream]):
            return tf.identity(x)
    return x
