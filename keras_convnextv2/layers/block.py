import dataclasses

import keras

from keras_convnextv2.layers import responses
from keras_convnextv2.layers.block_spec import PAPER_BLOCK, BlockSpec
from keras_convnextv2.layers.initializers import weight_initializer
from keras_convnextv2.layers.layer_scale import LayerScale
from keras_convnextv2.layers.masked_depthwise_conv import MaskedDepthwiseConv2D
from keras_convnextv2.layers.pointwise import at_each_position, normalized
from keras_convnextv2.layers.region_layer import RegionLayer
from keras_convnextv2.layers.regions import region_of
from keras_convnextv2.layers.stochastic_depth import StochasticDepth


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class ConvNeXtV2Block(RegionLayer):
    """A ConvNeXt V2 block.

        x + StochasticDepth(Linear(GRN(GELU(Linear(LayerNorm(DepthwiseConv7x7(x)))))))

    The linear layers widen C to 4C and back. Only the depthwise convolution and GRN look beyond
    one position, so only they ask the region (in `masked_depthwise_conv` and `ops.grn`). `spec` may
    put another response in GRN's place, and a LayerScale before the stochastic depth.
    Source: arXiv 2301.00808, section 4, figure 5.

    Args:
        width: int, the number of channels C, of the input too.
        drop_path_rate: float in [0, 1), the rate of the stochastic depth.
        seed: optional int, for the stochastic depth.
        spec: `BlockSpec`, what the block is made of where that may differ from the paper's.

    Call arguments:
        x: features (B, H, W, C), or those of `region`.
        region: where they are, one of `layers.regions`; the whole map by default. Visible positions
            depend on visible positions only; what hidden positions hold afterwards is not defined,
            and no further block reads it under the same mask.
        hidden: in place of `region`, (B, h, w), 1 = hidden, with h dividing H and w dividing W.
        training: bool, for the stochastic depth.

    Returns:
        The shape of `x`.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> features = np.random.default_rng(0).normal(size=(2, 8, 12, 16)).astype("float32")
        >>> block = kc.ConvNeXtV2Block(16)
        >>> tuple(block(features).shape)
        (2, 8, 12, 16)
        >>> hidden = np.array([[[0, 1, 1], [0, 0, 1]], [[1, 1, 0], [0, 1, 0]]])  # of 2 x 3 patches
        >>> tuple(block(features, hidden=hidden).shape)
        (2, 8, 12, 16)
    """

    def __init__(self, width, drop_path_rate=0.0, seed=None, spec=PAPER_BLOCK, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(width, int) or width < 1:
            raise ValueError(f"`width` must be a positive int. Received: {width!r}")
        self.width = width
        self.drop_path_rate = drop_path_rate
        self.seed = seed
        self.spec = BlockSpec(**spec) if isinstance(spec, dict) else spec  # of a config
        if not isinstance(self.spec, BlockSpec):
            raise ValueError(f"`spec` must be a BlockSpec. Received: {spec!r}")
        dtype = self.dtype_policy
        self.depthwise = MaskedDepthwiseConv2D(dtype=dtype, name="depthwise")
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, dtype=dtype, name="norm")
        self.expand = keras.layers.Dense(
            4 * width, kernel_initializer=weight_initializer(), dtype=dtype, name="expand"
        )
        # Weights of every format are named after GRN's place in the block.
        self.response = responses.make(self.spec.response, dtype=dtype, name="response_norm")
        self.project = keras.layers.Dense(
            width, kernel_initializer=weight_initializer(), dtype=dtype, name="project"
        )
        self.layer_scale = None
        if self.spec.layer_scale is not None:
            self.layer_scale = LayerScale(self.spec.layer_scale, dtype=dtype, name="layer_scale")
        self.stochastic_depth = StochasticDepth(
            drop_path_rate, seed=seed, dtype=dtype, name="stochastic_depth"
        )

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
        self.response.build(expanded_shape)
        self.project.build(expanded_shape)
        if self.layer_scale is not None:
            self.layer_scale.build(input_shape)
        self.stochastic_depth.build(input_shape)

    def call(self, x, region=None, hidden=None, training=None):
        region = region_of(region, hidden)
        y = self.depthwise(x, region)
        y = normalized(self.norm, y)
        y = at_each_position(self.expand, y)
        y = responses.of_gelu(self.response, y, region)  # self.response(gelu(y), region)
        y = at_each_position(self.project, y)
        if self.layer_scale is not None:
            y = self.layer_scale(y)
        if self.drop_path_rate > 0:
            y = self.stochastic_depth(y, training=training)
        return x + y

    def get_config(self):
        return {
            **super().get_config(),
            "width": self.width,
            "drop_path_rate": self.drop_path_rate,
            "seed": self.seed,
            "spec": dataclasses.asdict(self.spec),
        }
