"""The depthwise convolutions of a model alone, for tools.benchmark: one of each stage a step."""

import numpy as np

KERNEL_SIZE = 7


def make(task, variant, image_size, batch_size):
    """A function that runs a number of steps on the backend of Keras.

    Args:
        task: "depthwise", the convolution, or "depthwise_gradient", with its gradients too.
        variant, image_size, batch_size: of the model whose maps they are.
    """
    import keras

    import keras_convnextv2 as kc

    generator = np.random.default_rng(0)
    compiled = _COMPILED[keras.backend.backend()](task == "depthwise_gradient")
    stages = []
    for stage, width in enumerate(kc.VARIANTS[variant].widths):
        side = image_size // (4 * 2**stage)
        shapes = (batch_size, side, side, width), (KERNEL_SIZE, KERNEL_SIZE, width, 1)
        arrays = (generator.standard_normal(shape, dtype="float32") for shape in shapes)
        stages.append(tuple(map(keras.ops.convert_to_tensor, arrays)))

    def run(count):
        for _ in range(count):
            for x, kernel in stages:
                compiled(x, kernel)

    return run


def _jax(with_gradient):
    import jax

    from keras_convnextv2.layers.ops import depthwise

    @jax.jit
    def step(x, kernel):
        if not with_gradient:
            return depthwise(x, kernel)
        y, gradients = jax.vjp(depthwise, x, kernel)
        return y, gradients(x)

    return lambda x, kernel: jax.block_until_ready(step(x, kernel))


def _tensorflow(with_gradient):
    import tensorflow as tf

    from keras_convnextv2.layers.ops import depthwise

    @tf.function
    def step(x, kernel):
        with tf.GradientTape() as tape:
            tape.watch((x, kernel))
            y = depthwise(x, kernel)
        return y, tape.gradient(y, (x, kernel), output_gradients=x) if with_gradient else ()

    return step


def _torch(with_gradient):
    import torch

    from keras_convnextv2.layers.ops import depthwise

    def step(x, kernel):
        if not with_gradient:
            with torch.no_grad():
                return depthwise(x, kernel)
        x, kernel = (tensor.detach().requires_grad_() for tensor in (x, kernel))
        y = depthwise(x, kernel)
        return y, torch.autograd.grad(y, (x, kernel), x.detach())

    return step


_COMPILED = {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}
