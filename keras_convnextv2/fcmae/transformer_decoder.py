import keras
import numpy as np

from keras_convnextv2.fcmae.attention_block import AttentionBlock
from keras_convnextv2.fcmae.decoder_sizes import check_sizes
from keras_convnextv2.fcmae.mask_tokens import with_mask_token
from keras_convnextv2.layers.initializers import weight_initializer
from keras_convnextv2.layers.pointwise import at_each_position, normalized


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class TransformerDecoder(keras.layers.Layer):
    """MAE's decoder: blocks of attention on the map of the last stage.

    A linear layer maps to `width` channels, one learned mask token stands at all hidden positions,
    sines and cosines of its place are added to each, `depth` blocks of attention and MLP follow,
    then LayerNorm and a linear layer to each position's values. MAE has a depth of 8.
    Source: arXiv 2111.06377, section 3 and appendix A.

    Args:
        total_stride: int, pixels a side of a position of the last stage.
        channels: int, of the images.
        width: int, channels; of 64 and more a multiple of 32, else one of 4.
        depth: int, blocks.

    Call arguments:
        features: list of the stage outputs, features of the region; the last alone is taken.
        region: of the last stage, one of `layers.regions`.

    Returns:
        (B, H, W, total_stride * total_stride * channels), H and W those of the last stage.
    """

    def __init__(self, total_stride, channels, width=512, depth=1, **kwargs):
        super().__init__(**kwargs)
        check_sizes(width, depth, 4)
        self.total_stride = total_stride
        self.channels = channels
        self.width = width
        self.depth = depth
        dtype = self.dtype_policy

        def linear(size, name):
            return keras.layers.Dense(
                size, kernel_initializer=weight_initializer(), dtype=dtype, name=name
            )

        self.project = linear(width, "project")
        self.blocks = [
            AttentionBlock(width, dtype=dtype, name=f"block{index}") for index in range(depth)
        ]
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, dtype=dtype, name="norm")
        self.predict_pixels = linear(total_stride**2 * channels, "predict_pixels")

    def build(self, features_shape):
        self.mask_token = self.add_weight(
            shape=(self.width,), initializer=weight_initializer(), name="mask_token"
        )
        last_shape = features_shape[-1]
        self.project.build(last_shape)
        decoded_shape = (*last_shape[:-1], self.width)
        for layer in (*self.blocks, self.norm, self.predict_pixels):
            layer.build(decoded_shape)
        self.places = sines_and_cosines(*last_shape[1:-1], self.width)

    def call(self, features, region):
        x = at_each_position(self.project, features[-1])
        x = with_mask_token(x, region, self.mask_token)
        x = x + keras.ops.cast(self.places, x.dtype)
        for block in self.blocks:
            x = block(x)
        return at_each_position(self.predict_pixels, normalized(self.norm, x))

    def compute_output_shape(self, features_shape):
        return (*features_shape[-1][:-1], self.predict_pixels.units)

    def get_config(self):
        return {
            **super().get_config(),
            "total_stride": self.total_stride,
            "channels": self.channels,
            "width": self.width,
            "depth": self.depth,
        }


def sines_and_cosines(height, width, channels):
    """The fixed embedding of each position, float32 (height, width, channels).

    A quarter of the channels each are the sines and cosines of the column and of the row, times
    the frequencies 10000 ^ (-i / quarter), i = 0, 1, ... Source: MAE's code.
    """
    quarter = channels // 4
    frequencies = 10000.0 ** -(np.arange(quarter) / quarter)
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))  # each (height, width)
    angles = [place[..., None] * frequencies for place in (columns, rows)]
    parts = [function(angle) for angle in angles for function in (np.sin, np.cos)]
    return np.concatenate(parts, axis=-1).astype("float32")
