"""The official code's own pretraining checkpoints: a sparse encoder, a dense decoder.

MinkowskiEngine counts a kernel's positions through the columns: place w * k + h holds the weight
of row h and column w.
"""

from keras_convnextv2.weights.format import Format, block_names
from keras_convnextv2.weights.layouts import POINTWISE, Layout, response_norm

_ROW = ("bias", Layout("c", "1 c", "c"))

MINKOWSKI = Format(
    name="minkowski",
    names={
        "stem/conv": "encoder.downsample_layers.0.0",
        "stem/norm": "encoder.downsample_layers.0.1",
        "stage{}_downsample/norm": "encoder.downsample_layers.{}.0.ln",
        "stage{}_downsample/conv": "encoder.downsample_layers.{}.1",
        **block_names("encoder.stages.{}.{}", "dwconv norm.ln pwconv1.linear grn pwconv2.linear"),
        "decoder": "",
        "decoder/project": "proj",
        **block_names("decoder.{}", "dwconv norm pwconv1 grn pwconv2", "decoder/block{}"),
        "decoder/predict_pixels": "pred",
    },
    kinds={
        "stage{}_downsample/conv": {
            "kernel": ("kernel", Layout("h w i o", "(w h) i o")),
            "bias": _ROW,
        },
        "stage{}_block{}/depthwise": {
            "kernel": ("kernel", Layout("h w c 1", "(w h) c")),
            "bias": _ROW,
        },
        "stage{}_block{}/response_norm": response_norm("gamma", "beta", "1 c"),
        "decoder": {"mask_token": ("mask_token", Layout("c", "1 c 1 1"))},
        "decoder/project": POINTWISE,
        "decoder/block{}/response_norm": response_norm("gamma", "beta", "1 1 1 c"),
        "decoder/predict_pixels": POINTWISE,
    },
)
