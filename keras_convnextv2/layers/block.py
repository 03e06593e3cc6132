import keras

from keras_convnextv2.layers.global_response_normalization import GlobalResponseNormalization
from keras_convnextv2.layers.initializers import weight_initializer
from keras_convnextv2.layers.masked_depthwise_conv import MaskedDepthwiseConv2D
from keras_convnextv2.layers.pointwise import at_each_position, normalized
from keras_convnextv2.layers.stochastic_depth import StochasticDepth


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class ConvNeXtV2Block(keras.layers.Layer):
    """A ConvNeXt V2 block.

        x + StochasticDepth(Linear(GRN(GELU(Linear(LayerNorm(DepthwiseConv7x7(x)))))))

    The linear layers widen C to 4C and back. Only the depthwise convolution and GRN look beyond
    one position, so only they take the mask. Source: arXiv 2301.00808, section 4, figure 5.

    Args:
        width: int, the number of channels C, of the input too.
        drop_path_rate: float in [0, 1), the rate of the stochastic depth.
        seed: optional int, for the stochastic depth.
        response: str, what stands after GELU: "grn" or "none".
        layer_scale: optional float, the initial value of a scale of each channel of the branch.

    Call arguments:
        x: (B, H, W, C).
        hidden: optional (B, h, w), 1 = hidden, with h dividing H and w dividing W. With it,
            visible positions depend on visible positions only; what hidden positions hold
            afterwards is not defined, and no further block reads it under the same mask.
        placement: optional `Placement`, in place of `hidden`: `x` is the strip of the visible
            patches alone, (B, K * p, p, C); see `layers/visible_patches.py`.

    Returns:
        The shape of `x`.
    """

    def __init__(
        self,
        width,
        drop_path_rate=0.0,
        seed=None,
        response="grn",
        layer_scale=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(width, int) or width < 1:
            raise ValueError(f"`width` must be a positive int. Received: {width!r}")
        self.width = width
        self.drop_path_rate = drop_path_rate
        self.seed = seed
        self.response_name = response
        self.layer_scale_value = layer_scale
        dtype = self.dtype_policy
        self.depthwise = MaskedDepthwiseConv2D(dtype=dtype, name="depthwise")
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, dtype=dtype, name="norm")
        self.expand = keras.layers.Dense(
            4 * width, kernel_initializer=weight_initializer(), dtype=dtype, name="expand"
        )
        self.response_norm = None
        if response == "grn":
            self.response_norm = GlobalResponseNormalization(
                activation="gelu", dtype=dtype, name="response_norm"
            )
        self.project = keras.layers.Dense(
            width, kernel_initializer=weight_initializer(), dtype=dtype, name="project"
        )
        self.stochastic_depth = StochasticDepth(
            drop_path_rate, seed=seed, dtype=dtype, name="stochastic_depth"
        )
        self.layer_scale = None
        if layer_scale is not None:
            self.layer_scale = LayerScale(layer_scale, dtype=dtype, name="layer_scale")

    def build(self, input_shape):
        if input_shape[-1] != self.width:
            raise ValueError(
                f"A block of width {self.width} takes {self.width} channels. "
                f"Received an input of shape {tuple(input_shape)}."
            )
        expanded_shape = (*input_shape[:-1], 4 * self.width)
        self.depthwise.build(input_shape)
        self.norm.build(input_shape)
        self.expand.build(input_shape)
        if self.response_norm is not None:
            self.response_norm.build(expanded_shape)
        if self.layer_scale is not None:
            self.layer_scale.build(input_shape)
        self.project.build(expanded_shape)
        self.stochastic_depth.build(input_shape)

    def call(self, x, hidden=None, placement=None, training=None):
        branch = self.depthwise(x, hidden=hidden, placement=placement)
        branch = normalized(self.norm, branch)
        branch = at_each_position(self.expand, branch)
        if self.response_norm is None:
            branch = keras.activations.gelu(branch, approximate=False)
        else:
            branch = self.response_norm(branch, hidden=hidden)  # GRN of GELU
        branch = at_each_position(self.project, branch)
        if self.layer_scale is not None:
            branch = self.layer_scale(branch)
        if self.drop_path_rate > 0:
            branch = self.stochastic_depth(branch, training=training)
        return x + branch

    def compute_output_shape(self, x_shape, hidden_shape=None):
        return x_shape

    def get_config(self):
        return {
            **super().get_config(),
            "width": self.width,
            "drop_path_rate": self.drop_path_rate,
            "seed": self.seed,
            "response": self.response_name,
            "layer_scale": self.layer_scale_value,
        }


class LayerScale(keras.layers.Layer):
    """A learned scale of each channel, (..., C) -> (..., C)."""

    def __init__(self, initial_value, **kwargs):
        super().__init__(**kwargs)
        self.initial_value = initial_value

    def build(self, input_shape):
        self.gamma = self.add_weight(
            shape=(input_shape[-1],),
            initializer=keras.initializers.Constant(self.initial_value),
            name="gamma",
        )

    def call(self, x):
        return x * keras.ops.cast(self.gamma, x.dtype)
