import keras

from keras_convnextv2.fcmae.decoder_sizes import check_sizes
from keras_convnextv2.fcmae.mask_tokens import with_mask_token
from keras_convnextv2.layers import ConvNeXtV2Block
from keras_convnextv2.layers.initializers import weight_initializer
from keras_convnextv2.layers.pointwise import at_each_position


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class FCMAEDecoder(keras.layers.Layer):
    """From the encoder's visible features to the pixels of every patch.

    A linear layer maps to `width` channels, one learned mask token stands at all hidden positions,
    `depth` ConvNeXt V2 blocks see the whole map, and a linear layer maps to each position's values.
    Source: arXiv 2301.00808, section 3.

    Args:
        num_values: int, values a position of the last stage: its square of pixels, S * S * C.
        width: int, channels.
        depth: int, blocks.

    Call arguments:
        features: list of the stage outputs, features of the region; the last alone is taken.
        region: of the last stage, one of `layers.regions`.

    Returns:
        (B, H, W, num_values), a prediction for each position of the last stage's map.
    """

    def __init__(self, num_values, width=512, depth=1, **kwargs):
        super().__init__(**kwargs)
        check_sizes(width, depth)
        self.num_values = num_values
        self.width = width
        self.depth = depth
        dtype = self.dtype_policy
        self.project = keras.layers.Dense(
            width, kernel_initializer=weight_initializer(), dtype=dtype, name="project"
        )
        self.blocks = [
            ConvNeXtV2Block(width, dtype=dtype, name=f"block{index}") for index in range(depth)
        ]
        self.predict_pixels = keras.layers.Dense(
            num_values, kernel_initializer=weight_initializer(), dtype=dtype, name="predict_pixels"
        )

    def build(self, features_shape):
        self.mask_token = self.add_weight(
            shape=(self.width,), initializer=weight_initializer(), name="mask_token"
        )
        last_shape = features_shape[-1]
        self.project.build(last_shape)
        decoded_shape = (*last_shape[:-1], self.width)
        for block in self.blocks:
            block.build(decoded_shape)
        self.predict_pixels.build(decoded_shape)

    def call(self, features, region):
        x = at_each_position(self.project, features[-1])
        x = with_mask_token(x, region, self.mask_token)
        for block in self.blocks:
            x = block(x)
        return at_each_position(self.predict_pixels, x)

    def compute_output_shape(self, features_shape):
        return (*features_shape[-1][:-1], self.num_values)

    def get_config(self):
        return {
            **super().get_config(),
            "num_values": self.num_values,
            "width": self.width,
            "depth": self.depth,
        }
