"""The official code's own pretraining checkpoints: a sparse encoder, a dense decoder.

MinkowskiEngine counts a kernel's positions through the columns: place w * k + h holds the weight
of row h and column w.
"""

from keras_convnextv2.weights.format import Format
from keras_convnextv2.weights.layouts import (
    CONVOLUTION,
    DEPTHWISE,
    LINEAR,
    NORM,
    POINTWISE,
    Layout,
    response_norm,
)

_ROW = Layout("c", "1 c", "c")
_SPARSE_CONVOLUTION = {
    "kernel": ("kernel", Layout("h w i o", "(w h) i o")),
    "bias": ("bias", _ROW),
}
_SPARSE_DEPTHWISE = {
    "kernel": ("kernel", Layout("h w c 1", "(w h) c")),
    "bias": ("bias", _ROW),
}

MINKOWSKI = Format(
    name="minkowski",
    layers={
        "stem/conv": ("encoder.downsample_layers.0.0", CONVOLUTION),
        "stem/norm": ("encoder.downsample_layers.0.1", NORM),
        "stage{}_downsample/norm": ("encoder.downsample_layers.{}.0.ln", NORM),
        "stage{}_downsample/conv": ("encoder.downsample_layers.{}.1", _SPARSE_CONVOLUTION),
        "stage{}_block{}/depthwise": ("encoder.stages.{}.{}.dwconv", _SPARSE_DEPTHWISE),
        "stage{}_block{}/norm": ("encoder.stages.{}.{}.norm.ln", NORM),
        "stage{}_block{}/expand": ("encoder.stages.{}.{}.pwconv1.linear", LINEAR),
        "stage{}_block{}/response_norm": (
            "encoder.stages.{}.{}.grn",
            response_norm("gamma", "beta", "1 c"),
        ),
        "stage{}_block{}/project": ("encoder.stages.{}.{}.pwconv2.linear", LINEAR),
        "decoder": ("", {"mask_token": ("mask_token", Layout("c", "1 c 1 1"))}),
        "decoder/project": ("proj", POINTWISE),
        "decoder/block{}/depthwise": ("decoder.{}.dwconv", DEPTHWISE),
        "decoder/block{}/norm": ("decoder.{}.norm", NORM),
        "decoder/block{}/expand": ("decoder.{}.pwconv1", LINEAR),
        "decoder/block{}/response_norm": (
            "decoder.{}.grn",
            response_norm("gamma", "beta", "1 1 1 c"),
        ),
        "decoder/block{}/project": ("decoder.{}.pwconv2", LINEAR),
        "decoder/predict_pixels": ("pred", POINTWISE),
    },
)
