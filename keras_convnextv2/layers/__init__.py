"""Keras layers of ConvNeXt V2, with and without a mask."""

from keras_convnextv2.layers.block import ConvNeXtV2Block
from keras_convnextv2.layers.fast import set_fast_paths
from keras_convnextv2.layers.global_response_normalization import GlobalResponseNormalization
from keras_convnextv2.layers.masked_depthwise_conv import MaskedDepthwiseConv2D
from keras_convnextv2.layers.stochastic_depth import StochasticDepth

__all__ = [
    "ConvNeXtV2Block",
    "GlobalResponseNormalization",
    "MaskedDepthwiseConv2D",
    "StochasticDepth",
    "set_fast_paths",
]
