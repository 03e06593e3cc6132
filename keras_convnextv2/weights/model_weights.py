"""The weights of our models by name."""

from keras_convnextv2.fcmae import FCMAE
from keras_convnextv2.models import ConvNeXtV2Backbone, ConvNeXtV2Classifier
from keras_convnextv2.models.quantization import is_quantized
from keras_convnextv2.weights.sizes import Decoder, Sizes

_HEAD_LAYERS = ("norm", "head")


def sizes_of(model):
    """The `Sizes` of a backbone, a classifier or an FCMAE.

    Raises:
        ValueError: for any other model.
    """
    if not isinstance(model, (ConvNeXtV2Backbone, ConvNeXtV2Classifier, FCMAE)):
        raise ValueError(
            "Expected a ConvNeXtV2Backbone, a ConvNeXtV2Classifier or an FCMAE. "
            f"Received: {model!r}"
        )
    backbone = getattr(model, "backbone", model)
    decoder = None
    if isinstance(model, FCMAE):
        decoder = Decoder(model.decoder_width, model.decoder_depth, model.decoder.num_values)
    return Sizes(
        variant=backbone.variant,
        stem_stride=backbone.stem_stride,
        channels=backbone.image_shape[-1],
        num_classes=getattr(model, "num_classes", None),
        decoder=decoder,
    )


def named_weights(model):
    """{name as in `Sizes.shapes`: Keras variable} of a model.

    Raises:
        ValueError: a model whose linear layers are quantized.
    """
    if is_quantized(model):
        raise ValueError(
            "The linear layers of this model are quantized, which only `.keras` files and Keras "
            "itself know. Take the model as it was before `quantize`."
        )
    backbone = getattr(model, "backbone", model)
    # A model that was built in a name scope has more before its layers' names.
    found = {"/".join(weight.path.split("/")[-3:]): weight for weight in backbone.weights}
    if isinstance(model, ConvNeXtV2Classifier):
        for name in _HEAD_LAYERS:
            found |= {f"{name}/{weight.name}": weight for weight in model.get_layer(name).weights}
    if isinstance(model, FCMAE):
        for weight in model.decoder.weights:
            found[f"decoder/{weight.path.rpartition('decoder/')[2]}"] = weight
    return {name: found[name] for name in sizes_of(model).shapes()}
