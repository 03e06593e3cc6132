"""What the layers ask of the backend that is in use."""

import keras

from keras_convnextv2.layers.fast import jax as on_jax
from keras_convnextv2.layers.fast import tensorflow as on_tensorflow
from keras_convnextv2.layers.fast import torch as on_torch


def gains_from_jit():
    """Whether Keras should compile a model of ours when it is left to choose.

    TensorFlow on a CPU is the exception: XLA computes a depthwise 7x7 tens of times slower there
    than TensorFlow's own kernel.
    """
    return keras.backend.backend() != "tensorflow" or on_tensorflow.device(None) != "cpu"


def wrapping_dtype():
    """The dtype of integers in which sums and products of 32 bits may be wrapped around.

    int32 wraps around by itself, but not in what torch's compiler makes of it: C++ may do anything
    then, and wrote beyond its array.
    """
    return "int64" if keras.backend.backend() == "torch" else "int32"


def device(tensor):
    """The kind of device that computes with `tensor`: "cpu", "cuda", "gpu", "tpu" ..."""
    modules = {"jax": on_jax, "tensorflow": on_tensorflow, "torch": on_torch}
    module = modules.get(keras.backend.backend())
    return module.device(tensor) if module else None
