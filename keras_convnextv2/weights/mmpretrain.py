"""mmpretrain's checkpoints."""

from keras_convnextv2.weights.format import Format
from keras_convnextv2.weights.layouts import (
    CONVOLUTION,
    DEPTHWISE,
    LINEAR,
    NORM,
    response_norm,
)

_GRN = response_norm("gamma", "beta", "c")

MMPRETRAIN = Format(
    name="mmpretrain",
    entry="state_dict",
    layers={
        "stem/conv": ("backbone.downsample_layers.0.0", CONVOLUTION),
        "stem/norm": ("backbone.downsample_layers.0.1", NORM),
        "stage{}_downsample/norm": ("backbone.downsample_layers.{}.0", NORM),
        "stage{}_downsample/conv": ("backbone.downsample_layers.{}.1", CONVOLUTION),
        "stage{}_block{}/depthwise": ("backbone.stages.{}.{}.depthwise_conv", DEPTHWISE),
        "stage{}_block{}/norm": ("backbone.stages.{}.{}.norm", NORM),
        "stage{}_block{}/expand": ("backbone.stages.{}.{}.pointwise_conv1", LINEAR),
        "stage{}_block{}/response_norm": ("backbone.stages.{}.{}.grn", _GRN),
        "stage{}_block{}/project": ("backbone.stages.{}.{}.pointwise_conv2", LINEAR),
        "norm": ("backbone.norm3", NORM),
        "head": ("head.fc", LINEAR),
    },
)
