"""How the layers' costly operations are computed on each backend and device."""

from keras_convnextv2.layers.kernels.computed_once import computed_once
from keras_convnextv2.layers.kernels.custom_gradient import custom_gradient
from keras_convnextv2.layers.kernels.depthwise import (
    Layout,
    depthwise_conv2d,
    depthwise_gains_from_jit,
    gains_from_windows,
    set_depthwise_method,
)
from keras_convnextv2.layers.kernels.gelu_response_norm import (
    gains_from_own_gradient,
    gelu_response_norm,
    norm_over_positions,
)
from keras_convnextv2.layers.kernels.layer_norm import gains_from_own_layer_norm, layer_norm
from keras_convnextv2.layers.kernels.linear import gains_from_own_linear, linear
from keras_convnextv2.layers.kernels.patch_convolution import patch_convolution
from keras_convnextv2.layers.kernels.rearranged import reshape, take_rows, take_rows_or_zeros
from keras_convnextv2.layers.kernels.sum_of_squares import sum_of_squares

__all__ = [
    "Layout",
    "computed_once",
    "custom_gradient",
    "depthwise_conv2d",
    "depthwise_gains_from_jit",
    "gains_from_own_gradient",
    "gains_from_own_layer_norm",
    "gains_from_own_linear",
    "gains_from_windows",
    "gelu_response_norm",
    "layer_norm",
    "linear",
    "norm_over_positions",
    "patch_convolution",
    "reshape",
    "set_depthwise_method",
    "sum_of_squares",
    "take_rows",
    "take_rows_or_zeros",
]
