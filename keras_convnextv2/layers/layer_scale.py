import keras


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class LayerScale(keras.layers.Layer):
    """A learned scale of each channel: `x * gamma`, (B, H, W, C).

    ConvNeXt V1 ends a block's branch with it (arXiv 2201.03545); V2 has GRN instead. Source:
    arXiv 2103.17239, section 2.

    Args:
        initial: float, of every gamma as training begins.
    """

    def __init__(self, initial=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, input_shape):
        self.gamma = self.add_weight(
            shape=(input_shape[-1],),
            initializer=keras.initializers.Constant(self.initial),
            name="gamma",
        )

    def call(self, x):
        return x * self.gamma

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "initial": self.initial}
