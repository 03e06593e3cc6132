import keras

from keras_convnextv2.layers.region_layer import RegionLayer


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class LocalResponseNormalization(RegionLayer):
    """Local response normalization (LRN): a channel is inhibited by those beside it.

        output_c = x_c / (bias + alpha * sum over channels c' near c of x_c'^2) ^ beta

    c' runs from c - radius to c + radius, as far as there are channels. It looks at one position
    alone, so that a mask changes nothing. The sum is computed in float32.

    Source: Krizhevsky et al. 2012, section 3.3, whose constants are the defaults.

    Args:
        radius: int, channels to each side.
        bias: float.
        alpha: float.
        beta: float.

    Call arguments:
        x: features (B, H, W, C), or those of `region`.
        region: not asked.

    Returns:
        The shape and dtype of `x`.
    """

    def __init__(self, radius=2, bias=2.0, alpha=1e-4, beta=0.75, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(radius, int) or radius < 0:
            raise ValueError(f"`radius` must be an int of at least 0. Received: {radius!r}")
        if not bias > 0:
            raise ValueError(f"`bias` must be positive. Received: {bias!r}")
        self.radius = radius
        self.bias = bias
        self.alpha = alpha
        self.beta = beta

    def call(self, x, region=None):
        wide_x = keras.ops.cast(x, "float32")
        channels, radius = x.shape[-1], self.radius
        squares = keras.ops.pad(
            keras.ops.square(wide_x), ((0, 0), (0, 0), (0, 0), (radius, radius))
        )
        near = sum(squares[..., first : first + channels] for first in range(2 * radius + 1))
        y = wide_x * keras.ops.power(self.bias + self.alpha * near, -self.beta)
        return keras.ops.cast(y, x.dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "radius": self.radius,
            "bias": self.bias,
            "alpha": self.alpha,
            "beta": self.beta,
        }
