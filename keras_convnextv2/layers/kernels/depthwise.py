"""The depthwise convolution, and which way of computing it is taken."""

import keras

from keras_convnextv2.layers.kernels import jax_depthwise
from keras_convnextv2.layers.kernels.shifted_products import sum_of_shifted_products

DEPTHWISE_METHODS = ("auto", "convolution", "shifted")
_chosen = {"method": "auto"}


def set_depthwise_method(method="auto"):
    """Forces one way of computing every depthwise convolution of this process.

    The ways give the same values and gradients but for rounding. What is already compiled keeps
    the way it was compiled with. The choice is not saved with a model.

    Args:
        method: "auto" for the fastest known for the backend and the device: "shifted" for JAX on
            CPU, else "convolution"; "convolution" for the backend's own; "shifted" for a sum of
            shifted products.

    Returns:
        The method that was set before.

    Raises:
        ValueError: if `method` is none of these.
    """
    before = _chosen["method"]
    _chosen["method"] = _checked(method)
    return before


def depthwise_conv2d(x, kernel, method=None):
    """Depthwise convolution, stride 1, "same" padding.

    Args:
        x: (B, H, W, C).
        kernel: (k, k, C, 1) with k odd.
        method: as for `set_depthwise_method`; None for what that has set.

    Returns:
        (B, H, W, C).
    """
    method = _chosen["method"] if method is None else _checked(method)
    if keras.backend.backend() == "jax" and None not in x.shape[1:] and method != "convolution":
        return jax_depthwise.depthwise(method)(x, kernel)
    if method == "shifted":
        return sum_of_shifted_products(x, kernel)
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


def _checked(method):
    if method not in DEPTHWISE_METHODS:
        raise ValueError(f"`method` must be one of {DEPTHWISE_METHODS}. Received: {method!r}")
    return method
