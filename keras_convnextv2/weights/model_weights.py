"""The weights of our models by name."""

from keras_convnextv2.fcmae import FCMAE
from keras_convnextv2.fcmae.decoder import FCMAEDecoder
from keras_convnextv2.models import ConvNeXtV2Backbone, ConvNeXtV2Classifier
from keras_convnextv2.models.low_rank import merged_kernels
from keras_convnextv2.models.named_variables import named_variables
from keras_convnextv2.models.quantization import is_quantized
from keras_convnextv2.weights.sizes import Decoder, Sizes


def sizes_of(model):
    """The `Sizes` of a backbone, a classifier or an FCMAE.

    Raises:
        ValueError: for any other model, or an FCMAE with another decoder than the paper's.
    """
    if not isinstance(model, (ConvNeXtV2Backbone, ConvNeXtV2Classifier, FCMAE)):
        raise ValueError(
            "Expected a ConvNeXtV2Backbone, a ConvNeXtV2Classifier or an FCMAE. "
            f"Received: {model!r}"
        )
    backbone = getattr(model, "backbone", model)
    decoder = None
    if isinstance(model, FCMAE):
        if not isinstance(model.decoder, FCMAEDecoder):
            raise ValueError(
                "Weights are known by name for the paper's decoder alone. Received an FCMAE with "
                f"{type(model.decoder).__name__}: take its `backbone`, or save it as a .keras file."
            )
        decoder = Decoder(model.decoder_width, model.decoder_depth, model.decoder.num_values)
    return Sizes(
        variant=backbone.variant,
        stem_stride=backbone.stem_stride,
        channels=backbone.image_shape[-1],
        num_classes=getattr(model, "num_classes", None),
        decoder=decoder,
    )


def named_weights(model):
    """{name as in `Sizes.shapes`: Keras variable, or a `MergedKernel`} of a model.

    Raises:
        ValueError: a model whose linear layers are quantized, or that has weights without a place
            in `Sizes.shapes`.
    """
    if is_quantized(model):
        raise ValueError(
            "The linear layers of this model are quantized, which only `.keras` files and Keras "
            "itself know. Take the model as it was before `quantize`."
        )
    layers = list(getattr(model, "backbone", model).layers)
    if isinstance(model, ConvNeXtV2Classifier):
        layers += [layer for layer in model.layers if layer is not model.backbone]
    if isinstance(model, FCMAE):
        layers.append(model.decoder)
    merged = merged_kernels(model)
    found = {
        weight.name: merged.get(id(variable), variable)
        for layer in layers
        for weight, variable in named_variables(layer)
    }
    return {name: found[name] for name in sizes_of(model).shapes()}
