"""Blocks of a model with something else in the place of its response or after it.

They share all layers with the model's own blocks, which stay as they are.
"""

import keras
import numpy as np

from keras_convnextv2.layers import ConvNeXtV2Block, GlobalResponseNormalization, ops
from keras_convnextv2.layers.region_layer import RegionLayer
from keras_convnextv2.layers.regions import region_of


class BlockWithResponse(ConvNeXtV2Block):
    """A block that shares all layers with another one, but for its response.

    Args:
        block: `ConvNeXtV2Block`, built.
        response: what stands after GELU here.
    """

    def __init__(self, block, response):
        RegionLayer.__init__(self, dtype=block.dtype_policy)
        self.depthwise, self.norm, self.expand = block.depthwise, block.norm, block.expand
        self.project, self.layer_scale = block.project, block.layer_scale
        self.response = response
        self.drop_path_rate = 0.0  # it is for measurements

    def build(self, input_shape):
        """Nothing: the layers are another block's."""


class KeptChannels(keras.layers.Layer):
    """Features of which some channels are replaced by a constant each.

    Args:
        values: (C,), what replaces them.
    """

    def __init__(self, values, **options):
        super().__init__(**options)
        self.values, self.kept = constant(self, values), constant(self, np.ones(len(values)))

    def keep_all_but(self, removed):
        """From now on the channels `removed`, ints, are replaced, and no others."""
        kept = np.ones(self.kept.shape, "float32")
        kept[list(removed)] = 0
        self.kept.assign(kept)

    def call(self, x):
        values = keras.ops.cast(keras.ops.convert_to_tensor(self.values), x.dtype)
        return keras.ops.where(keras.ops.convert_to_tensor(self.kept) > 0, x, values)


class AblatedResponse(RegionLayer):
    """A response of which channels are replaced: before it, so that it computes without them, and
    after it.

    Args:
        response: the model's own.
        before: (C,), what replaces channels after GELU.
        after: (C,), what replaces them after the response.
    """

    def __init__(self, response, before, after, **options):
        super().__init__(**options)
        self.response = response
        dtype = self.dtype_policy
        self.before, self.after = (
            KeptChannels(before, dtype=dtype),
            KeptChannels(after, dtype=dtype),
        )

    def call(self, x, region=None):
        return self.after(self.respond(self.before(x), region_of(region, None)))

    def respond(self, x, region):
        return self.response(x, region=region)


class AblatedGRN(AblatedResponse):
    """The same of GRN, whose N may be fixed.

    Args:
        response: a `GlobalResponseNormalization`.
        before, after: as of `AblatedResponse`.
        relative: (C,), N where it is fixed.
    """

    def __init__(self, response, before, after, relative, **options):
        super().__init__(response, before, after, **options)
        self.relative, self.is_fixed = constant(self, relative), constant(self, 0.0)

    def respond(self, x, region):
        grn, cast = self.response, keras.ops.convert_to_tensor
        own = ops.relative_responses(x, grn.epsilon, region)
        relative = keras.ops.where(cast(self.is_fixed) > 0, cast(self.relative), own)
        return ops.calibrated(x, cast(grn.gamma), cast(grn.beta), relative)


def is_grn(response):
    """Whether a response is GRN itself, whose N is known here."""
    return type(response) is GlobalResponseNormalization


def constant(layer, value):
    """A float32 variable of a layer that no training changes."""
    value = np.asarray(value, "float32")
    return layer.add_weight(
        shape=value.shape,
        initializer=lambda shape, dtype=None: keras.ops.convert_to_tensor(value, dtype),
        dtype="float32",
        autocast=False,
        trainable=False,
    )
