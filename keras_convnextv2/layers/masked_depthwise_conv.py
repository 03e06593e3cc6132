import keras

from keras_convnextv2.layers import kernels
from keras_convnextv2.layers.hidden_positions import zero_where_hidden
from keras_convnextv2.layers.initializers import weight_initializer
from keras_convnextv2.layers.visible_patches import layout_of_strip


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class MaskedDepthwiseConv2D(keras.layers.Layer):
    """Depthwise convolution, stride 1, "same" padding, that can treat positions as absent.

    With a mask it equals a submanifold sparse convolution: hidden positions contribute nothing
    and receive nothing, not even the bias. That is had by zeroing the input before and the output
    after a dense convolution (ConvNeXt V2, arXiv 2301.00808, section 3 and appendix).

    Args:
        kernel_size: odd int, side of the square kernel.

    Call arguments:
        x: (B, H, W, C).
        hidden: optional (B, h, w), 1 = hidden, with h dividing H and w dividing W.
        placement: optional `Placement`, in place of `hidden`: `x` is the strip of the visible
            patches alone, (B, K * p, p, C); see `layers/visible_patches.py`.

    Returns:
        (B, H, W, C), zero at hidden positions; with `placement` the strip (B, K * p, p, C).
    """

    def __init__(self, kernel_size=7, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"`kernel_size` must be an odd int. Received: {kernel_size!r}")
        self.kernel_size = kernel_size
        # Read by Keras when compile(jit_compile="auto") decides.
        self.supports_jit = kernels.depthwise_gains_from_jit()

    def build(self, input_shape):
        channels = input_shape[-1]
        self.kernel = self.add_weight(
            shape=(self.kernel_size, self.kernel_size, channels, 1),
            initializer=weight_initializer(),
            name="kernel",
        )
        self.bias = self.add_weight(shape=(channels,), initializer="zeros", name="bias")

    def call(self, x, hidden=None, placement=None):
        kernel = keras.ops.convert_to_tensor(self.kernel)
        if placement is not None:
            layout = layout_of_strip(placement, x.shape[2], self.kernel_size)
            return kernels.depthwise_conv2d(x, kernel, layout=layout) + self.bias
        x = zero_where_hidden(x, hidden)
        return zero_where_hidden(kernels.depthwise_conv2d(x, kernel) + self.bias, hidden)

    def compute_output_shape(self, x_shape, hidden_shape=None):
        return x_shape

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size}
