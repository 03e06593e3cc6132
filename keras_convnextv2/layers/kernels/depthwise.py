"""The depthwise convolution, and which way of computing it is taken."""

import keras

from keras_convnextv2.layers.kernels import jax_depthwise, wide_kernel_gradient
from keras_convnextv2.layers.kernels.custom_gradient import custom_gradient, recomputed_after
from keras_convnextv2.layers.kernels.devices import runs_on_cpu, tensorflow_has_accelerator
from keras_convnextv2.layers.kernels.shifted_products import sum_of_shifted_products

DEPTHWISE_METHODS = ("auto", "convolution", "shifted")
_chosen = {"method": "auto"}


def set_depthwise_method(method="auto"):
    """Forces one way of computing every depthwise convolution of this process.

    The ways give the same values and gradients but for rounding. What is already compiled keeps
    the way it was compiled with. The choice is not saved with a model.

    Args:
        method: "auto" for the fastest known for the backend and the device: on a CPU "shifted" for
            JAX, and for TensorFlow and torch "convolution" with a gradient of our own; else
            "convolution"; "convolution" for the backend's own; "shifted" for a sum of shifted
            products.

    Returns:
        The method that was set before.

    Raises:
        ValueError: if `method` is none of these.
    """
    before = _chosen["method"]
    _chosen["method"] = _checked(method)
    return before


def depthwise_conv2d(x, kernel, method=None, to_map=None, from_map=None):
    """Depthwise convolution, stride 1, "same" padding.

    Args:
        x: (B, H, W, C), or what `to_map` takes.
        kernel: (k, k, C, 1) with k odd.
        method: as for `set_depthwise_method`; None for what that has set.
        to_map, from_map: for features kept in another layout, functions from it to the map
            (B, H, W, C) and back. Each is linear, and its transpose is the other. The map is then
            not kept for the gradient, where that is ours, but made again.

    Returns:
        The layout of `x`.
    """
    method = _chosen["method"] if method is None else _checked(method)
    to_map, from_map = to_map or _unchanged, from_map or _unchanged
    convolve, kernel_gradient = _operations(x, method)
    if kernel_gradient is None:
        return from_map(convolve(to_map(x), kernel))

    def forward(x, kernel):
        return from_map(convolve(to_map(x), kernel)), ()

    def gradient(upstream, tensors, _, needed):
        x, kernel = tensors
        map_upstream = to_map(upstream)
        gradients = [None, None]
        if needed[0]:
            gradients[0] = from_map(convolve(map_upstream, keras.ops.flip(kernel, (0, 1))))
        if needed[1]:
            map_x = to_map(recomputed_after(upstream, x))
            gradients[1] = keras.ops.cast(
                kernel_gradient(map_x, map_upstream, kernel.shape[0]), kernel.dtype
            )
        return gradients

    return custom_gradient(forward, gradient)(x, kernel)


def depthwise_gains_from_jit():
    """Whether Keras should compile a model with this operation when it is left to choose.

    TensorFlow on CPU is the exception: XLA computes a depthwise 7x7 tens of times slower there
    than TensorFlow's own kernel.
    """
    return keras.backend.backend() != "tensorflow" or tensorflow_has_accelerator()


def _operations(x, method):
    """The convolution, and its kernel's gradient or None for the backend's own."""
    backend = keras.backend.backend()
    if backend == "jax" and method != "convolution" and None not in x.shape[1:]:
        return jax_depthwise.operations(method)
    if method == "shifted":
        return sum_of_shifted_products, None
    own = None
    if method == "auto" and backend != "jax" and runs_on_cpu(x):
        by_torch, by_tensorflow = wide_kernel_gradient.by_torch, wide_kernel_gradient.by_tensorflow
        own = by_torch if backend == "torch" else by_tensorflow
    return _convolution, own


def _convolution(x, kernel):
    if keras.backend.backend() == "torch":
        import torch

        # Keras (3.15) takes up to eight times as long for the same on a CPU.
        y = torch.nn.functional.conv2d(
            x.permute(0, 3, 1, 2),
            kernel.permute(2, 3, 0, 1),
            padding=kernel.shape[0] // 2,
            groups=x.shape[-1],
        )
        return y.permute(0, 2, 3, 1)
    return keras.ops.depthwise_conv(x, kernel, padding="same", data_format="channels_last")


def _unchanged(x):
    return x


def _checked(method):
    if method not in DEPTHWISE_METHODS:
        raise ValueError(f"`method` must be one of {DEPTHWISE_METHODS}. Received: {method!r}")
    return method
