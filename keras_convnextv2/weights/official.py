"""The official code's dense checkpoints: released, or fine-tuned with it (facebookresearch).

Those of ConvNeXt V1 differ in what a block has: a layer scale, `gamma`, for GRN.
"""

from keras_convnextv2.weights.format import Format, block_names
from keras_convnextv2.weights.layouts import layer_scale, response_norm

OFFICIAL = Format(
    name="official",
    names={
        "stem/conv": "downsample_layers.0.0",
        "stem/norm": "downsample_layers.0.1",
        "stage{}_downsample/norm": "downsample_layers.{}.0",
        "stage{}_downsample/conv": "downsample_layers.{}.1",
        **block_names("stages.{}.{}", "dwconv norm pwconv1 grn pwconv2"),
        "stage{}_block{}/layer_scale": "stages.{}.{}",
        "norm": "norm",
        "head": "head",
    },
    kinds={
        "response_norm": response_norm("gamma", "beta", "1 1 1 c"),
        "layer_scale": layer_scale("gamma"),
    },
)
