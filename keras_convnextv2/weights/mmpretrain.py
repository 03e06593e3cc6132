"""mmpretrain's checkpoints, of ConvNeXt V1 too."""

from keras_convnextv2.weights.format import Format, block_names
from keras_convnextv2.weights.layouts import layer_scale, response_norm

_BLOCK = "depthwise_conv norm pointwise_conv1 grn pointwise_conv2"

MMPRETRAIN = Format(
    name="mmpretrain",
    entry="state_dict",
    names={
        "stem/conv": "backbone.downsample_layers.0.0",
        "stem/norm": "backbone.downsample_layers.0.1",
        "stage{}_downsample/norm": "backbone.downsample_layers.{}.0",
        "stage{}_downsample/conv": "backbone.downsample_layers.{}.1",
        **block_names("backbone.stages.{}.{}", _BLOCK),
        "stage{}_block{}/layer_scale": "backbone.stages.{}.{}",
        "norm": "backbone.norm3",
        "head": "head.fc",
    },
    kinds={
        "response_norm": response_norm("gamma", "beta", "c"),
        "layer_scale": layer_scale("gamma"),
    },
    # Of pretraining by SparK: its decoder, the norms of inner stages, the images' mean.
    beside=r"(neck|enc_dec_\w+|mask_tokens|data_preprocessor|backbone\.norm[0-2])\b",
)
