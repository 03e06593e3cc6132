"""What may stand after GELU in a block: the response, by name.

    @responses.register("mine")
    @keras.saving.register_keras_serializable()
    class Mine(keras.layers.Layer):
        def call(self, x, region):
            mean = region.sum(x) / region.count(x)  # over the visible positions of each image
            return x - keras.ops.cast(mean, x.dtype)

A response is a layer that is called as `response(x, region=region)` with the widened features
(B, H, W, 4C), or those of a strip, and gives their shape and dtype back. `region` is one of
`layers.regions`: what sums over positions must ask it, or hidden positions count too. What it
writes at hidden positions is not read, but must be finite. It is made as
`Mine(name=..., dtype=...)`, and builds the layers within it in its own `build`. A model's
configuration keeps the name, so whoever loads the model registers the class first.

A response may have a method `of_gelu(x, region)` that computes itself of GELU at once. One whose
`call` takes `training` is told it by Keras.

Those there are: "grn", the paper's; "none", as in ConvNeXt V1; what the paper compares GRN with,
"lrn", "bn", "ln", "se" and "cbam"; and GRN with other parts, named after what differs from it,
"grn[_l1|_average][_sum|_inverse_sum|_standardise][_no_residual][_no_affine]".
"""

import keras

from keras_convnextv2.layers import ops
from keras_convnextv2.layers.global_response_normalization import GlobalResponseNormalization
from keras_convnextv2.layers.region_layer import RegionLayer
from keras_convnextv2.layers.registry import Registry
from keras_convnextv2.layers.response_variants.batch_normalization import MaskedBatchNormalization
from keras_convnextv2.layers.response_variants.cbam import ConvolutionalBlockAttention
from keras_convnextv2.layers.response_variants.layer_normalization import ResponseLayerNormalization
from keras_convnextv2.layers.response_variants.local_response_normalization import (
    LocalResponseNormalization,
)
from keras_convnextv2.layers.response_variants.response_normalization import (
    ResponseNormalization,
    named_options,
)
from keras_convnextv2.layers.response_variants.squeeze_excite import SqueezeExcite

_GRN_VARIANTS = (
    "or grn[_l1|_average][_sum|_inverse_sum|_standardise][_no_residual][_no_affine], GRN's variants"
)
_registry = Registry("response")
register = _registry.register
names = _registry.names


def described():
    """The names in a few words, for messages: GRN's variants by the rule of their names."""
    variants = {name for name, _ in named_options()}
    return ", ".join(name for name in names() if name not in variants) + f"; {_GRN_VARIANTS}"


def make(response, **options):
    """A new layer of the response's name; `options` are `name` and `dtype`.

    Raises:
        ValueError: there is none of that name.
    """
    if response not in names():
        raise ValueError(
            f"`response` must be one of {described()}. Received: {response!r}. A response "
            "of your own is registered by `keras_convnextv2.layers.responses.register`."
        )
    return _registry.make(response, **options)


def of_gelu(response, x, region):
    """`response(gelu(x), region)`: at once where the response knows a way."""
    at_once = getattr(response, "of_gelu", None)
    if at_once is not None:
        return at_once(x, region)
    return response(ops.gelu(x), region=region)


register("grn")(GlobalResponseNormalization)


@register("none")
@keras.saving.register_keras_serializable(package="keras_convnextv2")
class NoResponse(RegionLayer):
    """Nothing after GELU, as in ConvNeXt V1: `x` as it is."""

    def call(self, x, region=None):
        return x


register("lrn")(LocalResponseNormalization)
register("bn")(MaskedBatchNormalization)
register("ln")(ResponseLayerNormalization)
register("se")(SqueezeExcite)
register("cbam")(ConvolutionalBlockAttention)
for _name, _options in named_options():
    register(_name, **_options)(ResponseNormalization)
