import keras

from keras_convnextv2.layers.hidden_positions import zero_where_hidden


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class GlobalResponseNormalization(keras.layers.Layer):
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
        x: (B, H, W, C).
        hidden: optional (B, h, w), 1 = hidden, with h dividing H and w dividing W. Hidden
            positions are left out of the statistics; what the output holds there is not defined.

    Returns:
        (B, H, W, C) in the dtype of `x`.
    """

    def __init__(self, epsilon=1e-6, **kwargs):
        super().__init__(**kwargs)
        if not epsilon > 0:
            raise ValueError(f"`epsilon` must be positive. Received: {epsilon!r}")
        self.epsilon = epsilon

    def build(self, input_shape):
        channels = input_shape[-1]
        self.gamma = self.add_weight(shape=(channels,), initializer="zeros", name="gamma")
        self.beta = self.add_weight(shape=(channels,), initializer="zeros", name="beta")

    def call(self, x, hidden=None):
        ops = keras.ops
        wide_x = ops.cast(x, "float32")
        energy = ops.sum(
            ops.square(zero_where_hidden(wide_x, hidden)), axis=(1, 2), keepdims=True
        )  # (B, 1, 1, C)
        # The gradient of a square root is infinite at 0, where an all-zero channel puts it.
        silent = ops.equal(energy, 0.0)
        norm = ops.where(silent, 0.0, ops.sqrt(ops.where(silent, 1.0, energy)))
        response = norm / (ops.mean(norm, axis=-1, keepdims=True) + self.epsilon)
        # One multiply and one add over the map: gamma * (x * N) + beta + x.
        gain = 1.0 + ops.cast(self.gamma, "float32") * response
        y = wide_x * gain + ops.cast(self.beta, "float32")
        if keras.backend.standardize_dtype(x.dtype) == "float16":
            y = ops.clip(y, -65504.0, 65504.0)  # saturate instead of turning into Inf
        return ops.cast(y, x.dtype)

    def compute_output_shape(self, x_shape, hidden_shape=None):
        return x_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
