import keras

from keras_convnextv2.layers import ops
from keras_convnextv2.layers.initializers import weight_initializer
from keras_convnextv2.layers.region_layer import RegionLayer
from keras_convnextv2.layers.regions import region_of
from keras_convnextv2.layers.response_variants.squeeze_excite import squeeze_and_excite


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class ConvolutionalBlockAttention(RegionLayer):
    """Convolutional block attention (CBAM): attention to channels, then to positions.

        y = x * sigmoid(MLP(mean over positions of x) + MLP(maximum over positions of x))
        output = y * sigmoid(Conv7x7([mean over channels of y, maximum over channels of y]))

    The MLP is that of squeeze-and-excitation, one for both. Means and maxima over positions are
    over the visible ones of an image. The convolution, without bias, is a masked one: what is
    hidden counts as what lies beyond the edge. From two maps to one it is a depthwise convolution
    whose two outputs are added, so that every region has it, the strip of visible patches too.

    Source: arXiv 1807.06521, equations 2 and 3.

    Args:
        reduction: int, of the MLP's channels.
        kernel_size: odd int, side of the convolution's kernel.

    Call arguments:
        x: features (B, H, W, C), or those of `region`.
        region: where they are, one of `layers.regions`; the whole map by default.

    Returns:
        The shape and dtype of `x`.
    """

    def __init__(self, reduction=16, kernel_size=7, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(reduction, int) or reduction < 1:
            raise ValueError(f"`reduction` must be a positive int. Received: {reduction!r}")
        if not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"`kernel_size` must be an odd int. Received: {kernel_size!r}")
        self.reduction = reduction
        self.kernel_size = kernel_size

    def build(self, input_shape):
        channels = input_shape[-1]
        narrow = max(channels // self.reduction, 1)
        self.squeeze, self.excite = squeeze_and_excite(narrow, channels, self.dtype_policy)
        self.squeeze.build((None, 1, 1, channels))
        self.excite.build((None, 1, 1, narrow))
        self.kernel = self.add_weight(
            shape=(self.kernel_size, self.kernel_size, 2, 1),
            initializer=weight_initializer(),
            name="kernel",
        )

    def call(self, x, region=None):
        region = region_of(region, None)
        y = x * self._of_channels(x, region)
        return y * self._of_positions(y, region)

    def _of_channels(self, x, region):
        """(B, 1, 1, C)."""
        mean = keras.ops.cast(region.sum(x) / region.count(x), x.dtype)
        maximum = _maximum_over_positions(x, region)
        scores = self.excite(self.squeeze(mean)) + self.excite(self.squeeze(maximum))
        return keras.ops.sigmoid(scores)

    def _of_positions(self, x, region):
        """(B, H, W, 1)."""
        mean = keras.ops.mean(x, axis=-1, keepdims=True)
        maximum = keras.ops.max(x, axis=-1, keepdims=True)
        pair = keras.ops.concatenate([mean, maximum], axis=-1)  # (B, H, W, 2)
        convolved = region.depthwise(pair, keras.ops.convert_to_tensor(self.kernel))
        return keras.ops.sigmoid(keras.ops.sum(convolved, axis=-1, keepdims=True))

    def get_config(self):
        own = {"reduction": self.reduction, "kernel_size": self.kernel_size}
        return {**super().get_config(), **own}


def _maximum_over_positions(x, region):
    """Over the visible positions of each image, (B, 1, 1, C); 0 where there are none."""
    is_visible = region.clean(keras.ops.ones_like(x[..., :1])) > 0  # (B, H, W, 1)
    lowest = keras.ops.cast(-ops.LARGEST_FLOAT16, x.dtype)
    visible = keras.ops.where(is_visible, x, lowest)
    maximum = keras.ops.max(visible, axis=(1, 2), keepdims=True)
    any_visible = keras.ops.any(is_visible, axis=(1, 2), keepdims=True)
    return keras.ops.where(any_visible, maximum, keras.ops.zeros((), x.dtype))
