"""The official code's dense checkpoints: released, or fine-tuned with it (facebookresearch)."""

from keras_convnextv2.weights.format import Format
from keras_convnextv2.weights.layouts import (
    CONVOLUTION,
    DEPTHWISE,
    LINEAR,
    NORM,
    response_norm,
)

_GRN = response_norm("gamma", "beta", "1 1 1 c")

OFFICIAL = Format(
    name="official",
    layers={
        "stem/conv": ("downsample_layers.0.0", CONVOLUTION),
        "stem/norm": ("downsample_layers.0.1", NORM),
        "stage{}_downsample/norm": ("downsample_layers.{}.0", NORM),
        "stage{}_downsample/conv": ("downsample_layers.{}.1", CONVOLUTION),
        "stage{}_block{}/depthwise": ("stages.{}.{}.dwconv", DEPTHWISE),
        "stage{}_block{}/norm": ("stages.{}.{}.norm", NORM),
        "stage{}_block{}/expand": ("stages.{}.{}.pwconv1", LINEAR),
        "stage{}_block{}/response_norm": ("stages.{}.{}.grn", _GRN),
        "stage{}_block{}/project": ("stages.{}.{}.pwconv2", LINEAR),
        "norm": ("norm", NORM),
        "head": ("head", LINEAR),
    },
)
