"""The backbone as an instance of keras-hub's own class.

Most of keras-hub needs no such thing: `DeepLabV3Backbone` and `RetinaNetBackbone` take a
`ConvNeXtV2Backbone` as it is, by its `pyramid_outputs`.
"""

import functools

import keras

from keras_convnextv2.export.partner_packages import import_partner
from keras_convnextv2.models import ConvNeXtV2Backbone


def to_keras_hub(backbone, first_level=None):
    """`backbone` as a `keras_hub.models.FeaturePyramidBackbone`: its layers, not copies of them.

    Training the one trains the other.

    Args:
        backbone: a `ConvNeXtV2Backbone`. Some tasks need its image size known, as SegFormer.
        first_level: optional int; names the levels of `pyramid_outputs` from this number. None
            names them by log2 of their stride, from P2 for stem_stride=4; `SegFormerBackbone`
            wants them from 1.

    Returns:
        An instance of `pyramid_backbone_class()`, on images as `backbone` takes them: normalised.

    Raises:
        ModuleNotFoundError: keras-hub is not installed.
        ValueError: `backbone` or `first_level` is something else.

    Examples:
        >>> import keras_convnextv2 as kc
        >>> from keras_convnextv2.export import to_keras_hub
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> backbone = kc.ConvNeXtV2Backbone(small, (64, 64, 3))
        >>> list(to_keras_hub(backbone, first_level=1).pyramid_outputs)
        ['P1', 'P2', 'P3', 'P4']
    """
    return pyramid_backbone_class()(backbone, first_level)


@functools.cache
def pyramid_backbone_class():
    """The class of what `to_keras_hub` returns.

    Making it registers it: call this in a program that loads a saved model of it without having
    called `to_keras_hub`.

    Raises:
        ModuleNotFoundError: keras-hub is not installed.
    """
    keras_hub = import_partner("keras_hub", extra="keras-hub")

    @keras.saving.register_keras_serializable(package="keras_convnextv2")
    class ConvNeXtV2PyramidBackbone(keras_hub.models.FeaturePyramidBackbone):
        """A `ConvNeXtV2Backbone` with `pyramid_outputs`, `image_shape` and `hidden_dims`."""

        def __init__(self, image_encoder, first_level=None, **kwargs):
            if not isinstance(image_encoder, ConvNeXtV2Backbone):
                raise ValueError(
                    "`backbone` must be a ConvNeXtV2Backbone. Received: "
                    f"{type(image_encoder).__name__}"
                )
            if first_level is not None and (not isinstance(first_level, int) or first_level < 0):
                raise ValueError(f"`first_level` must be 0 or more. Received: {first_level!r}")
            kwargs.setdefault("name", image_encoder.name)
            kwargs.setdefault("dtype", image_encoder.dtype_policy)
            super().__init__(image_encoder.inputs[0], image_encoder.outputs[0], **kwargs)
            self.image_encoder = image_encoder
            self.first_level = first_level
            self.image_shape = image_encoder.image_shape
            self.hidden_dims = list(image_encoder.variant.widths)
            outputs = image_encoder.pyramid_outputs
            if first_level is not None:
                outputs = {f"P{n}": y for n, y in enumerate(outputs.values(), first_level)}
            self.pyramid_outputs = dict(outputs)

        def get_config(self):
            return {
                **super().get_config(),
                "image_encoder": keras.saving.serialize_keras_object(self.image_encoder),
                "first_level": self.first_level,
            }

        @classmethod
        def from_config(cls, config):
            encoder = keras.saving.deserialize_keras_object(config["image_encoder"])
            return super().from_config({**config, "image_encoder": encoder})

    return ConvNeXtV2PyramidBackbone
