import keras

from keras_convnextv2.layers import ops
from keras_convnextv2.layers.region_layer import RegionLayer
from keras_convnextv2.layers.regions import region_of


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class GlobalResponseNormalization(RegionLayer):
    """Global Response Normalization (GRN): channels of one image compete by their energy.

        G_c = sqrt(sum over positions of x_c^2)
        N_c = G_c / (mean over channels of G + epsilon)
        output = gamma * (x * N) + beta + x

    Statistics are of one image, never of the batch, and with a mask of its visible positions
    only. They are computed in float32 whatever the layer's dtype: the sum of squares overflows
    float16 at ordinary activations. gamma and beta start at 0, so that the layer starts as the
    identity.

    Source: ConvNeXt V2 (arXiv 2301.00808), section 4 and algorithm 1.

    Args:
        epsilon: float, added to the mean energy.

    Call arguments:
        x: features (B, H, W, C), or those of `region`.
        region: where they are, one of `layers.regions`; the whole map by default. Hidden positions
            are left out of the statistics; what the output holds there is not defined.
        hidden: in place of `region`, (B, h, w), 1 = hidden, with h dividing H and w dividing W.

    Returns:
        The shape and dtype of `x`.

    Examples:
        >>> import keras, numpy as np, keras_convnextv2 as kc
        >>> features = np.random.default_rng(0).normal(size=(2, 8, 12, 16)).astype("float32")
        >>> grn = kc.GlobalResponseNormalization()
        >>> np.array_equal(keras.ops.convert_to_numpy(grn(features)), features)  # as it starts
        True
    """

    def __init__(self, epsilon=1e-6, **kwargs):
        super().__init__(**kwargs)
        if not epsilon > 0:
            raise ValueError(f"`epsilon` must be positive. Received: {epsilon!r}")
        self.epsilon = epsilon

    def build(self, input_shape):
        channels = input_shape[-1]
        self.gamma, self.beta = (
            self.add_weight(shape=(channels,), initializer="zeros", autocast=False, name=name)
            for name in ("gamma", "beta")
        )

    def call(self, x, region=None, hidden=None):
        return ops.grn(x, *self._float32_weights(), self.epsilon, region_of(region, hidden))

    def of_gelu(self, x, region):
        """`self(gelu(x), region)` as one operation, which passes over the features fewer times."""
        if type(self).call is not GlobalResponseNormalization.call:  # a subclass's own response
            return self(ops.gelu(x), region=region)
        return ops.gelu_grn(x, *self._float32_weights(), self.epsilon, region)

    def _float32_weights(self):
        return [
            keras.ops.cast(keras.ops.convert_to_tensor(weight), "float32")
            for weight in (self.gamma, self.beta)
        ]

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
