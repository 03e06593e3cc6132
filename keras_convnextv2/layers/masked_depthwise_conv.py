import keras

from keras_convnextv2.layers.fast.backend import gains_from_jit
from keras_convnextv2.layers.initializers import weight_initializer
from keras_convnextv2.layers.region_layer import RegionLayer
from keras_convnextv2.layers.regions import region_of


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class MaskedDepthwiseConv2D(RegionLayer):
    """Depthwise convolution, stride 1, "same" padding, that can treat positions as absent.

    With a mask it equals a submanifold sparse convolution: hidden positions contribute nothing
    and receive nothing, not even the bias. A dense convolution gives this if its input is zeroed
    before and its output after (ConvNeXt V2, arXiv 2301.00808, section 3 and appendix).

    Args:
        kernel_size: odd int, side of the square kernel.

    Call arguments:
        x: features (B, H, W, C), or those of `region`.
        region: where they are, one of `layers.regions`; the whole map by default.
        hidden: in place of `region`, (B, h, w), 1 = hidden, with h dividing H and w dividing W.

    Returns:
        The shape of `x`; of a map, zero at hidden positions.

    Examples:
        >>> import keras, numpy as np, keras_convnextv2 as kc
        >>> features = np.random.default_rng(0).normal(size=(1, 4, 8, 16)).astype("float32")
        >>> convolution = kc.MaskedDepthwiseConv2D(kernel_size=3)
        >>> output = convolution(features, hidden=np.array([[[0, 1]]]))  # the right half is hidden
        >>> output = keras.ops.convert_to_numpy(output)
        >>> float(abs(output[:, :, 4:]).max()), bool(output[:, :, :4].any())
        (0.0, True)
    """

    def __init__(self, kernel_size=7, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"`kernel_size` must be an odd int. Received: {kernel_size!r}")
        self.kernel_size = kernel_size
        # Read by Keras when compile(jit_compile="auto") decides.
        self.supports_jit = gains_from_jit()

    def build(self, input_shape):
        channels = input_shape[-1]
        self.kernel = self.add_weight(
            shape=(self.kernel_size, self.kernel_size, channels, 1),
            initializer=weight_initializer(),
            name="kernel",
        )
        self.bias = self.add_weight(shape=(channels,), initializer="zeros", name="bias")

    def call(self, x, region=None, hidden=None):
        region = region_of(region, hidden)
        y = region.depthwise(x, keras.ops.convert_to_tensor(self.kernel)) + self.bias
        return region.clean(y)

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size}
