"""FCMAE's decoders, by name.

    @decoders.register("mine")
    @keras.saving.register_keras_serializable()
    class Mine(keras.layers.Layer):
        def __init__(self, total_stride, channels, width=512, depth=1, **kwargs): ...

        def call(self, features, region, training=None): ...

`FCMAE(backbone, decoder="mine")` makes it with the side in pixels of a position of the last stage,
the channels of the images, `decoder_width` and `decoder_depth`, `name` and `dtype`; what it is
built and called with, and gives, is said at `FCMAE`'s argument `decoder`. A model's configuration
keeps the name, so whoever loads the model registers the class first.

Those there are: "block", the paper's; "unet" and "unet_without_skips"; "hierarchical", SparK's;
"transformer", MAE's.
"""

from keras_convnextv2.fcmae.decoder import FCMAEDecoder
from keras_convnextv2.fcmae.hierarchical_decoder import HierarchicalDecoder
from keras_convnextv2.fcmae.transformer_decoder import TransformerDecoder
from keras_convnextv2.fcmae.unet_decoder import UNetDecoder
from keras_convnextv2.layers.registry import Registry

_registry = Registry("decoder")
register = _registry.register
names = _registry.names


def make(decoder, **options):
    """A new decoder of the name.

    Args:
        decoder: str.
        **options: `total_stride`, `channels`, `width`, `depth`, `name` and `dtype`.

    Raises:
        ValueError: there is none of that name, or it cannot have that size.
    """
    if decoder not in names():
        raise ValueError(
            f"`decoder` must be one of {', '.join(names())}, or a layer. Received: {decoder!r}. A "
            "decoder of your own is registered by `keras_convnextv2.fcmae.decoders.register`."
        )
    return _registry.make(decoder, **options)


@register("block")
def _paper_decoder(total_stride, channels, **options):
    return FCMAEDecoder(total_stride**2 * channels, **options)


register("unet")(UNetDecoder)
register("unet_without_skips", skips=False)(UNetDecoder)
register("hierarchical")(HierarchicalDecoder)
register("transformer")(TransformerDecoder)
