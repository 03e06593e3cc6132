"""How a depthwise convolution is computed on each backend and device."""

import keras

from keras_convnextv2.layers.kernels import jax_depthwise


def depthwise_conv2d(x, kernel):
    """Depthwise convolution, stride 1, "same" padding.

    Args:
        x: (B, H, W, C).
        kernel: (k, k, C, 1) with k odd.

    Returns:
        (B, H, W, C).
    """
    if keras.backend.backend() == "jax" and None not in x.shape[1:]:
        return jax_depthwise.depthwise()(x, kernel)
    return keras.ops.depthwise_conv(x, kernel, padding="same", data_format="channels_last")


def depthwise_gains_from_jit():
    """Whether Keras should compile a model with this operation when it is left to choose.

    TensorFlow on CPU is the exception: XLA computes a depthwise 7x7 tens of times slower there
    than TensorFlow's own kernel.
    """
    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))
