import keras

from keras_convnextv2.layers import ops
from keras_convnextv2.layers.initializers import weight_initializer


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class PatchConvolution(keras.layers.Conv2D):
    """Keras's convolution where its stride is its kernel's side: of patches that do not overlap.

    Args:
        filters: int, channels of the output.
        patch_size: int, side and stride of the kernel.
        **kwargs: others of Keras's layer, but those that tell how the kernel moves.

    Input and output:
        (B, H, W, C) and (B, H // patch_size, W // patch_size, filters).
    """

    def __init__(self, filters, patch_size, **kwargs):
        kwargs.setdefault("kernel_initializer", weight_initializer())
        super().__init__(
            filters, patch_size, strides=patch_size, data_format="channels_last", **kwargs
        )
        self.patch_size = patch_size

    def convolution_op(self, inputs, kernel):
        side = self.patch_size
        if any(isinstance(size, int) and size < side for size in inputs.shape[1:3]):
            raise ValueError(
                f"A map of {inputs.shape[1]}x{inputs.shape[2]} is too small for a convolution of "
                f"{side}x{side}. Images must be at least as large as the model's total stride."
            )
        return ops.patch_convolution(inputs, keras.ops.convert_to_tensor(kernel))

    def get_config(self):
        config = super().get_config()
        given = ("kernel_size", "strides", "padding", "data_format", "dilation_rate", "groups")
        config = {name: value for name, value in config.items() if name not in given}
        return {**config, "patch_size": self.patch_size}
