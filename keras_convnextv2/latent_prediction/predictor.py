import keras

from keras_convnextv2.fcmae.mask_tokens import with_mask_token
from keras_convnextv2.layers import MaskedDepthwiseConv2D
from keras_convnextv2.layers.initializers import weight_initializer
from keras_convnextv2.layers.pointwise import at_each_position, normalized


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class LatentPredictor(keras.layers.Layer):
    """From the encoder's visible features to the features of every cell.

    One learned token stands at all hidden cells. Then come `depth` times a depthwise 3x3
    convolution, a linear layer, LayerNorm and ReLU; the last time without the latter two, since the
    features that are predicted are not normalised and have both signs, while those of the ResNets
    of the source end in a ReLU. Source: CNN-JEPA (arXiv 2408.07514).

    Args:
        width: int, channels of the features.
        depth: int.

    Call arguments:
        x: the last stage's features of the region.
        region: one of `layers.regions`.

    Returns:
        (B, h, w, width).
    """

    def __init__(self, width, depth=3, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(depth, int) or isinstance(depth, bool) or depth < 1:
            raise ValueError(f"The predictor's depth must be a positive int. Received: {depth!r}")
        self.width = width
        self.depth = depth
        dtype = self.dtype_policy
        self.convolutions = [
            MaskedDepthwiseConv2D(kernel_size=3, dtype=dtype, name=f"depthwise{index}")
            for index in range(depth)
        ]
        self.linears = [
            keras.layers.Dense(
                width, kernel_initializer=weight_initializer(), dtype=dtype, name=f"linear{index}"
            )
            for index in range(depth)
        ]
        self.norms = [
            keras.layers.LayerNormalization(epsilon=1e-6, dtype=dtype, name=f"norm{index}")
            for index in range(depth - 1)
        ]

    def build(self, features_shape):
        self.mask_token = self.add_weight(
            shape=(self.width,), initializer=weight_initializer(), name="mask_token"
        )
        for layer in (*self.convolutions, *self.linears, *self.norms):
            layer.build(features_shape)

    def call(self, x, region):
        x = with_mask_token(x, region, self.mask_token)
        for index, (convolution, linear) in enumerate(
            zip(self.convolutions, self.linears, strict=True)
        ):
            if index > 0:
                x = keras.ops.relu(normalized(self.norms[index - 1], x))
            x = at_each_position(linear, convolution(x))
        return x

    def get_config(self):
        return {**super().get_config(), "width": self.width, "depth": self.depth}
