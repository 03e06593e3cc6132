import keras

from keras_convnextv2.layers import ConvNeXtV2Block
from keras_convnextv2.layers.initializers import weight_initializer
from keras_convnextv2.layers.pointwise import at_each_position


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class FCMAEDecoder(keras.layers.Layer):
    """From the encoder's visible features to the pixels of every patch.

    A linear layer to `width` channels, one learned mask token at all hidden positions,
    `depth` ConvNeXt V2 blocks on the full grid, a linear layer to the patch's values.
    Source: arXiv 2301.00808, section 3.

    Args:
        num_values: int, values a patch: P * P * C.
        width: int, channels.
        depth: int, blocks.

    Call arguments:
        features: (B, h, w, C_last).
        hidden: (B, h, w), 1 = hidden.

    Returns:
        (B, h, w, num_values).
    """

    def __init__(self, num_values, width=512, depth=1, **kwargs):
        super().__init__(**kwargs)
        for name, value in (("width", width), ("depth", depth)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"The decoder's {name} must be a positive int. Received: {value}")
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

    def build(self, input_shape):
        self.mask_token = self.add_weight(
            shape=(self.width,), initializer=weight_initializer(), name="mask_token"
        )
        self.project.build(input_shape)
        decoded_shape = (*input_shape[:-1], self.width)
        for block in self.blocks:
            block.build(decoded_shape)
        self.predict_pixels.build(decoded_shape)

    def call(self, features, hidden, training=None):
        x = at_each_position(self.project, features)
        is_hidden = keras.ops.expand_dims(keras.ops.cast(hidden, "bool"), -1)
        x = keras.ops.where(is_hidden, keras.ops.cast(self.mask_token, x.dtype), x)
        for block in self.blocks:
            x = block(x, training=training)
        return at_each_position(self.predict_pixels, x)

    def compute_output_shape(self, features_shape, hidden_shape=None):
        return (*features_shape[:-1], self.num_values)

    def get_config(self):
        return {
            **super().get_config(),
            "num_values": self.num_values,
            "width": self.width,
            "depth": self.depth,
        }
