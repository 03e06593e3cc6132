"""Models by the name of their weights."""

import dataclasses

from keras_convnextv2.models import ConvNeXtV2Backbone, ConvNeXtV2Classifier
from keras_convnextv2.weights.checkpoint import cast
from keras_convnextv2.weights.description import (
    META_LICENCE,
    USUAL_IMAGE_SIZE,
    Description,
    announce_licence,
)
from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.files import open_weights
from keras_convnextv2.weights.matching import check_whole, identify
from keras_convnextv2.weights.model_weights import named_weights


@dataclasses.dataclass(frozen=True)
class Preset:
    """Public weights.

    Attributes:
        variant: name in `VARIANTS`.
        image_size: pixels a side.
        num_classes: int; None for a backbone.
        training: the data, in the order of training.
        top_1: accuracy on ImageNet-1K's validation images in percent, as the official
            repository reports it; None for a backbone.
        licence: SPDX identifier in lower case.
    """

    variant: str
    image_size: int
    num_classes: int | None
    training: str
    top_1: float | None
    licence: str = META_LICENCE


_SELF_SUPERVISED = "FCMAE on ImageNet-1K"
_FINETUNED = f"{_SELF_SUPERVISED}, fine-tuned on ImageNet-1K"
_INTERMEDIATE = f"{_SELF_SUPERVISED}, fine-tuned on ImageNet-22K, then on ImageNet-1K"
_NAME = "hf://timm/convnextv2_{}.{}"

# Source: the tables of github.com/facebookresearch/ConvNeXt-V2, whose weights timm's hub holds.
_TOP_1 = {
    "atto": 76.7,
    "femto": 78.5,
    "pico": 80.3,
    "nano": 81.9,
    "tiny": 83.0,
    "base": 84.9,
    "large": 85.8,
    "huge": 86.3,
}
_TOP_1_AFTER_22K = {
    ("nano", 224): 82.1,
    ("nano", 384): 83.4,
    ("tiny", 224): 83.9,
    ("tiny", 384): 85.1,
    ("base", 224): 86.8,
    ("base", 384): 87.7,
    ("large", 224): 87.3,
    ("large", 384): 88.2,
    ("huge", 384): 88.7,
    ("huge", 512): 88.9,
}
PRESETS = {
    **{
        _NAME.format(variant, "fcmae"): Preset(variant, 224, None, _SELF_SUPERVISED, None)
        for variant in _TOP_1
    },
    **{
        _NAME.format(variant, "fcmae_ft_in1k"): Preset(variant, 224, 1000, _FINETUNED, top_1)
        for variant, top_1 in _TOP_1.items()
    },
    **{
        _NAME.format(variant, "fcmae_ft_in22k_in1k" + ("" if size == 224 else f"_{size}")): Preset(
            variant, size, 1000, _INTERMEDIATE, top_1
        )
        for (variant, size), top_1 in _TOP_1_AFTER_22K.items()
    },
}


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
        A decoder beside it is left out: `load_weights` gives it to an `FCMAE`.

    Raises:
        WeightsError: there is no whole model in a known format.
    """
    checkpoint = open_weights(source, entry)
    preset = PRESETS.get(str(source).partition("@")[0])
    if preset is not None:
        known = Description(None, (preset.image_size, preset.image_size), preset.licence)
        checkpoint.description = known.completed_by(checkpoint.description)
    contents = identify(checkpoint)
    sizes = dataclasses.replace(contents.sizes, decoder=None)
    shapes = sizes.shapes()
    # Before a model is built: what a file declares could make it enormous.
    check_whole(contents, sizes)
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
        sizes.variant_name or sizes.variant,
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
