import keras

from keras_convnextv2.layers.pointwise import normalized
from keras_convnextv2.layers.region_layer import RegionLayer


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class ResponseLayerNormalization(RegionLayer):
    """LayerNorm over the widened channels of each position, so that a mask changes nothing.

    With a scale and a shift. Source: arXiv 2301.00808, table 2d.

    Args:
        epsilon: float, added to the variance.

    Call arguments:
        x: features (B, H, W, C), or those of `region`.
        region: not asked.

    Returns:
        The shape and dtype of `x`.
    """

    def __init__(self, epsilon=1e-6, **kwargs):
        super().__init__(**kwargs)
        if not epsilon > 0:
            raise ValueError(f"`epsilon` must be positive. Received: {epsilon!r}")
        self.epsilon = epsilon

    def build(self, input_shape):
        self.norm = keras.layers.LayerNormalization(
            epsilon=self.epsilon, dtype=self.dtype_policy, name="norm"
        )
        self.norm.build(input_shape)

    def call(self, x, region=None):
        return normalized(self.norm, x)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
