import keras

from keras_convnextv2.layers import kernels


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
        activation: None, or "gelu" to take the exact GELU of `x` first, as the block does. The
            two together pass over the features fewer times.

    Call arguments:
        x: (B, H, W, C).
        hidden: optional (B, h, w), 1 = hidden, with h dividing H and w dividing W. Hidden
            positions are left out of the statistics; what the output holds there is not defined.

    Returns:
        (B, H, W, C) in the dtype of `x`.
    """

    def __init__(self, epsilon=1e-6, activation=None, **kwargs):
        super().__init__(**kwargs)
        if not epsilon > 0:
            raise ValueError(f"`epsilon` must be positive. Received: {epsilon!r}")
        if activation not in (None, "gelu"):
            raise ValueError(f"`activation` must be None or 'gelu'. Received: {activation!r}")
        self.epsilon = epsilon
        self.activation = activation

    def build(self, input_shape):
        channels = input_shape[-1]
        self.gamma, self.beta = (
            self.add_weight(shape=(channels,), initializer="zeros", autocast=False, name=name)
            for name in ("gamma", "beta")
        )

    def call(self, x, hidden=None):
        ops = keras.ops
        gamma, beta = (
            ops.cast(ops.convert_to_tensor(weight), "float32") for weight in (self.gamma, self.beta)
        )
        dtype = keras.backend.standardize_dtype(x.dtype)
        if self.activation == "gelu":
            if kernels.gains_from_own_gradient(dtype):
                return kernels.gelu_response_norm(x, gamma, beta, self.epsilon, hidden)
            x = ops.gelu(x, approximate=False)
        norm = kernels.norm_over_positions(x, hidden)  # (B, 1, 1, C)
        response = norm / (ops.mean(norm, axis=-1, keepdims=True) + self.epsilon)
        # One multiply and one add over the map: gamma * (x * N) + beta + x.
        y = ops.cast(x, "float32") * (1.0 + gamma * response) + beta
        if dtype == "float16":
            y = ops.clip(y, -65504.0, 65504.0)  # saturate instead of turning into Inf
        return ops.cast(y, x.dtype)

    def compute_output_shape(self, x_shape, hidden_shape=None):
        return x_shape

    def get_config(self):
        return {
            **super().get_config(),
            "epsilon": self.epsilon,
            "activation": self.activation,
        }
