"""The depthwise convolution, and which way of computing it is taken."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import keras

from keras_convnextv2.layers.kernels import jax_depthwise, wide_kernel_gradient
from keras_convnextv2.layers.kernels.custom_gradient import custom_gradient, recomputed_after
from keras_convnextv2.layers.kernels.devices import runs_on_cpu, tensorflow_has_accelerator
from keras_convnextv2.layers.kernels.rearranged import reshape
from keras_convnextv2.layers.kernels.shifted_products import shifted_depthwise

DEPTHWISE_METHODS = ("auto", "convolution", "shifted")
_chosen = {"method": "auto"}


def set_depthwise_method(method="auto"):
    """Forces one way of computing every depthwise convolution of this process.

    The ways give the same values and gradients but for rounding. What is already compiled keeps
    the way it was compiled with. The choice is not saved with a model.

    Args:
        method: "auto" for the fastest known for the backend and the device: on a CPU "shifted" for
            JAX, and for TensorFlow and torch "convolution" with a gradient of our own, of visible
            patches without their map where that gains; else "convolution"; "convolution" for the
            backend's own; "shifted" for a sum of shifted products.

    Returns:
        The method that was set before.

    Raises:
        ValueError: if `method` is none of these.
    """
    before = _chosen["method"]
    _chosen["method"] = _checked(method)
    return before


class Layout(NamedTuple):
    """How features are kept that are not a map (B, H, W, C).

    Attributes:
        to_map, from_map: functions from the layout to the map and back. Each is linear, and its
            transpose is the other.
        to_windows: optional function from the layout to the windows of its patches, (N, p + k - 1,
            p + k - 1, C): the N patches, p x p, that are one after the other in the layout, each
            with what is around it in the map. An optional second argument rearranges them: a
            function of the numbers of their positions, int32 (N, p + k - 1, p + k - 1), where
            N * p * p stands for zeros; the windows take the shape that it gives. On JAX every
            number above stands for zeros too, and what is given may be parts of the layout's
            rows, (M, D), if the numbers are made those of the parts.
    """

    to_map: Callable
    from_map: Callable
    to_windows: Callable | None = None


_A_MAP = Layout(lambda x: x, lambda x: x)


def gains_from_windows(side, hidden):
    """Whether patches of `side` positions are the faster for being convolved as windows.

    A map is computed where nothing is visible too, a window is read where patches overlap. Measured
    on a CPU with a kernel of 7 and 19 of 49 patches visible: windows take a third (JAX) to three
    fifths (torch) of the map's time for patches of 8 positions, about four fifths for 4, and more
    than it for 2.
    """
    is_auto = _chosen["method"] == "auto"  # the others go by the map
    return is_auto and side >= 4 and runs_on_cpu(hidden)


def depthwise_conv2d(x, kernel, method=None, layout=None):
    """Depthwise convolution, stride 1, "same" padding.

    Args:
        x: (B, H, W, C), or in another layout.
        kernel: (k, k, C, 1) with k odd.
        method: as for `set_depthwise_method`; None for what that has set.
        layout: optional `Layout` of `x`. The map is then not kept for the gradient, where that is
            ours, but made again.

    Returns:
        The layout of `x`.
    """
    method = _chosen["method"] if method is None else _checked(method)
    layout = layout or _A_MAP
    convolve, kernel_gradient = _operations(x, method)
    if kernel_gradient is None:
        return layout.from_map(convolve(layout.to_map(x), kernel))
    if method == "auto" and layout.to_windows is not None:
        ways = _through_windows(layout.to_windows)
    else:
        ways = _through_map(layout, convolve, kernel_gradient)
    return custom_gradient(*ways)(x, kernel)


def _through_map(layout, convolve, kernel_gradient):
    """The convolution and its gradient, as `custom_gradient` takes them."""

    def forward(x, kernel):
        return layout.from_map(convolve(layout.to_map(x), kernel)), ()

    def gradient(upstream, tensors, _, needed):
        x, kernel = tensors
        upstream_map = layout.to_map(upstream)
        gradients = [None, None]
        if needed[0]:
            gradients[0] = layout.from_map(convolve(upstream_map, _turned(kernel)))
        if needed[1]:
            x_map = layout.to_map(recomputed_after(upstream, x))
            gradient = kernel_gradient(x_map, upstream_map, kernel.shape[0])
            gradients[1] = keras.ops.cast(gradient, kernel.dtype)
        return gradients

    return forward, gradient


def _through_windows(to_windows):
    """As `_through_map`."""
    if keras.backend.backend() == "jax":
        convolve, kernel_gradient = jax_depthwise.operations_on_windows()
    else:
        convolve, kernel_gradient = _convolution_by_windows, _gradient_by_windows
    convolve = functools.partial(convolve, to_windows)

    def forward(x, kernel):
        return convolve(x, kernel), ()

    def gradient(upstream, tensors, _, needed):
        x, kernel = tensors
        gradients = [None, None]
        if needed[0]:
            gradients[0] = convolve(upstream, _turned(kernel))
        if needed[1]:
            x = recomputed_after(upstream, x)
            gradient = kernel_gradient(to_windows, x, upstream, kernel.shape[0])
            gradients[1] = keras.ops.cast(gradient, kernel.dtype)
        return gradients

    return forward, gradient


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
        return shifted_depthwise, None
    is_own = method == "auto" and backend != "jax" and runs_on_cpu(x)
    return _convolution, _gradient_by_maps if is_own else None


def _gradient_by_maps(x, upstream, size):
    x = keras.ops.transpose(x, (1, 2, 0, 3))
    return _wide_kernel_gradient(x, upstream, size, margin=size // 2)


def _gradient_by_windows(to_windows, x, upstream, size):
    windows = to_windows(x, lambda numbers: keras.ops.transpose(numbers, (1, 2, 0)))
    side, channels = windows.shape[0] - size + 1, windows.shape[3]
    patches = reshape(upstream, (-1, side, side, channels))
    return _wide_kernel_gradient(windows, patches, size, margin=0)


def _wide_kernel_gradient(x, upstream, size, margin):
    by_torch, by_tensorflow = wide_kernel_gradient.by_torch, wide_kernel_gradient.by_tensorflow
    own = by_torch if keras.backend.backend() == "torch" else by_tensorflow
    return own(x, upstream, size, margin)


def _convolution(x, kernel, padding="same"):
    if keras.backend.backend() == "torch":
        import torch

        # Keras (3.15) takes up to eight times as long for the same on a CPU.
        y = torch.nn.functional.conv2d(
            x.permute(0, 3, 1, 2),
            kernel.permute(2, 3, 0, 1),
            padding=kernel.shape[0] // 2 if padding == "same" else 0,
            groups=x.shape[-1],
        )
        return y.permute(0, 2, 3, 1)
    return keras.ops.depthwise_conv(x, kernel, padding=padding, data_format="channels_last")


def _convolution_by_windows(to_windows, x, kernel):
    y = _convolution(to_windows(x), kernel, padding="valid")
    return reshape(y, keras.ops.shape(x))


def _turned(kernel):
    """The kernel of the gradient for the input."""
    return keras.ops.flip(kernel, (0, 1))


def _checked(method):
    if method not in DEPTHWISE_METHODS:
        raise ValueError(f"`method` must be one of {DEPTHWISE_METHODS}. Received: {method!r}")
    return method
