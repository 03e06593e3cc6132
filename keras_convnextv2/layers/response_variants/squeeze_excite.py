import keras

from keras_convnextv2.layers.initializers import weight_initializer
from keras_convnextv2.layers.region_layer import RegionLayer
from keras_convnextv2.layers.regions import region_of


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class SqueezeExcite(RegionLayer):
    """Squeeze-and-excitation (SE): each channel of an image times a learned factor in (0, 1).

        output = x * sigmoid(Linear(ReLU(Linear(mean over visible positions of x))))

    The linear layers go from C to C / reduction channels and back. Source: arXiv 1709.01507.

    Args:
        reduction: int.

    Call arguments:
        x: features (B, H, W, C), or those of `region`.
        region: where they are, one of `layers.regions`; the whole map by default.

    Returns:
        The shape and dtype of `x`.
    """

    def __init__(self, reduction=16, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(reduction, int) or reduction < 1:
            raise ValueError(f"`reduction` must be a positive int. Received: {reduction!r}")
        self.reduction = reduction

    def build(self, input_shape):
        channels = input_shape[-1]
        narrow = max(channels // self.reduction, 1)
        self.squeeze, self.excite = squeeze_and_excite(narrow, channels, self.dtype_policy)
        self.squeeze.build((None, 1, 1, channels))
        self.excite.build((None, 1, 1, narrow))

    def call(self, x, region=None):
        region = region_of(region, None)
        mean = keras.ops.cast(region.sum(x) / region.count(x), x.dtype)  # (B, 1, 1, C)
        return x * keras.ops.sigmoid(self.excite(self.squeeze(mean)))

    def get_config(self):
        return {**super().get_config(), "reduction": self.reduction}


def squeeze_and_excite(narrow, channels, dtype):
    """The two linear layers of channel attention, to `narrow` channels with ReLU, and back."""
    sizes = {"squeeze": narrow, "excite": channels}
    return [
        keras.layers.Dense(
            size,
            activation="relu" if name == "squeeze" else None,
            kernel_initializer=weight_initializer(),
            dtype=dtype,
            name=name,
        )
        for name, size in sizes.items()
    ]
