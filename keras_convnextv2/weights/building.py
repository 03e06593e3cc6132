"""Building the model that weights are of."""

import dataclasses
import warnings

from keras_convnextv2.models import ConvNeXtV2Backbone, ConvNeXtV2Classifier
from keras_convnextv2.weights.checkpoint import cast
from keras_convnextv2.weights.description import USUAL_IMAGE_SIZE, announce_licence
from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.files import open_weights
from keras_convnextv2.weights.matching import check_whole, identify, shorten
from keras_convnextv2.weights.model_weights import named_weights


def from_preset(source, image_size=None, drop_path_rate=None, dtype=None, entry=None):
    """Builds the model whose weights a file, a folder or the hub holds, and loads them.

        model = from_preset("hf://timm/convnextv2_atto.fcmae_ft_in1k")
        backbone = from_preset("convnextv2_tiny_1k_224_fcmae.pt")

    Sizes, stem, channels and classes follow from the weights. Formats are those of `load_weights`.
    `PRESETS` lists the public weights. Their licence is printed once.

    Args:
        source: path of a file or folder, or "hf://owner/name".
        image_size: (height, width) of the model's input; each may be None, for any. Default: what
            comes along with the weights, else 224x224.
        drop_path_rate: float, stochastic depth of the last block. Default: that of a `.keras`
            file, else 0.
        dtype: dtype policy or its name. Default: that of a `.keras` file, else Keras's own.
        entry: as in `load_weights`.

    Returns:
        ConvNeXtV2Classifier, with `class_names` where they come along, and logits as output (of a
        `.keras` file its own activation); or ConvNeXtV2Backbone, where the weights have no head.
        A decoder beside it is left out (`load_weights` gives it to an `FCMAE`), and so is, with a
        warning, a LayerNorm without a head behind it.

    Raises:
        WeightsError: there is no whole model in a known format.
    """
    checkpoint = open_weights(source, entry)
    contents = identify(checkpoint)
    sizes = dataclasses.replace(contents.sizes, decoder=None)
    shapes = sizes.shapes()
    # Before a model is built: what a file declares could make it enormous.
    left_out = check_whole(contents, sizes)
    norm = [key for key in left_out if contents.parts()[key] == "head"]
    if norm:
        message = f"{checkpoint.path} has no head for its {shorten(norm)}, which are left out."
        warnings.warn(message, stacklevel=2)
    try:
        model = _build(checkpoint, sizes, image_size, drop_path_rate, dtype)
    except ValueError as error:
        raise WeightsError(f"No model can be built for {checkpoint.path}: {error}") from error
    for name, weight in named_weights(model).items():
        array = contents.read(name, shapes[name])
        weight.assign(cast(array, weight.dtype, contents.key(name)))
    announce_licence(checkpoint.description.licence, contents.may_be_metas)
    getattr(model, "backbone", model).licence = checkpoint.description.licence
    return model


def _build(checkpoint, sizes, image_size, drop_path_rate, dtype):
    saved = checkpoint.model_config or {"backbone": {}}
    backbone = saved["backbone"]
    if image_size is None and "image_shape" in backbone:
        image_size = backbone["image_shape"][:2]  # where it may be any, a description has no size
    elif image_size is None:
        image_size = checkpoint.description.image_size or USUAL_IMAGE_SIZE
    if not isinstance(image_size, (tuple, list)) or len(image_size) != 2:
        raise ValueError(f"`image_size` must be (height, width). Received: {image_size!r}")
    if drop_path_rate is None:
        drop_path_rate = backbone.get("drop_path_rate", 0.0)
    backbone = ConvNeXtV2Backbone(
        sizes.variant.name or sizes.variant,
        (*image_size, sizes.channels),
        stem_stride=sizes.stem_stride,
        drop_path_rate=drop_path_rate,
        seed=backbone.get("seed"),
        dtype=dtype or backbone.get("dtype"),
    )
    if sizes.num_classes is None:
        return backbone
    activation = saved.get("activation")
    if not isinstance(activation, (str, type(None))):
        raise WeightsError("its activation is not Keras's own; use keras.saving.load_model")
    names = checkpoint.description.class_names
    return ConvNeXtV2Classifier(
        backbone,
        sizes.num_classes,
        activation=activation,
        class_names=names if names and len(names) == sizes.num_classes else None,
    )
