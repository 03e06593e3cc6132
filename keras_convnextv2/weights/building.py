"""Building the model that weights are of."""

import dataclasses
import warnings

from keras_convnextv2.fcmae import FCMAE
from keras_convnextv2.models import ConvNeXtV2Backbone, ConvNeXtV2Classifier
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

    Examples:
        >>> import keras_convnextv2 as kc
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(small, (64, 64, 3)), 2)
        >>> kc.save_weights(model, "for_timm.safetensors", format="timm")
        >>> same = kc.from_preset("for_timm.safetensors")
        >>> same.num_classes, same.backbone.variant.widths
        (2, (8, 16, 32, 64))
    """
    return model_of(open_weights(source, entry), image_size, drop_path_rate, dtype)


def model_of(checkpoint, image_size=None, drop_path_rate=None, dtype=None, with_decoder=False):
    """As `from_preset`, of what `open_weights` opened; an FCMAE too, `with_decoder`."""
    contents = identify(checkpoint)
    sizes = contents.sizes
    if not with_decoder:
        sizes = dataclasses.replace(sizes, decoder=None)
    checkpoint.description.demand_channels(sizes.channels, checkpoint.path)
    # Before a model is built: what a file declares could make it enormous.
    left_out = check_whole(contents, sizes)
    norm = [key for key in left_out if contents.parts()[key] == "head"]
    if norm:
        message = f"{checkpoint.path} has no head for its {shorten(norm)}, which are left out."
        warnings.warn(message, stacklevel=3)
    model = build(contents, sizes, image_size, drop_path_rate, dtype)
    announce_licence(checkpoint.description.licence, contents.may_be_metas)
    return model


def build(contents, sizes, image_size=None, drop_path_rate=None, dtype=None, as_saved=False):
    """The model of a checkpoint that has been checked, with its weights.

    Args:
        contents: a `Contents`.
        sizes: the model's `Sizes`: those of the contents, or without a head or a decoder.
        image_size, drop_path_rate, dtype: as in `from_preset`.
        as_saved: bool; True: names and what is frozen are those of a `.keras` file, too.

    Raises:
        WeightsError: what the file says of its model is not possible.
    """
    checkpoint = contents.checkpoint
    try:
        model = _build(checkpoint, sizes, image_size, drop_path_rate, dtype, as_saved)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"No model can be built for {checkpoint.path}: {error}") from error
    shapes = sizes.shapes()
    for name, weight in named_weights(model).items():
        weight.assign(contents.read(name, shapes[name], weight.dtype))
    checkpoint.description.describe(getattr(model, "backbone", model))
    return model


def _build(checkpoint, sizes, image_size, drop_path_rate, dtype, as_saved):
    config = checkpoint.model_config or {"backbone": {}}
    backbone = _settings(config["backbone"], as_saved)
    saved_shape = backbone.pop("image_shape", None)
    if image_size is None and saved_shape is not None:
        image_size = saved_shape[:2]  # where it may be any, a description has no size
    elif image_size is None:
        image_size = checkpoint.description.image_size or USUAL_IMAGE_SIZE
    if not isinstance(image_size, (tuple, list)) or len(image_size) != 2:
        raise ValueError(f"`image_size` must be (height, width). Received: {image_size!r}")
    if drop_path_rate is not None:
        backbone["drop_path_rate"] = drop_path_rate
    if dtype is not None:
        backbone["dtype"] = dtype
    backbone |= {
        "variant": sizes.variant.name or sizes.variant,
        "image_shape": (*image_size, sizes.channels),
        "stem_stride": sizes.stem_stride,
    }
    backbone = ConvNeXtV2Backbone(**backbone)
    if sizes.num_classes is None and sizes.decoder is None:
        return backbone
    settings = _settings(config, as_saved)
    if sizes.decoder is not None:
        decoder = {"decoder_width": sizes.decoder.width, "decoder_depth": sizes.decoder.depth}
        return FCMAE(backbone, **{**settings, **decoder})
    names = checkpoint.description.class_names
    settings["class_names"] = names if names and len(names) == sizes.num_classes else None
    return ConvNeXtV2Classifier(backbone, **{**settings, "num_classes": sizes.num_classes})


def _settings(config, as_saved):
    """The arguments in a `.keras` file's configuration that are plain values.

    Raises:
        WeightsError: one of them would name a class or a function.
    """
    others = {"class_name", "backbone", "licence", "normalisation", "variant"}
    if not as_saved:
        others |= {"name", "trainable"}
    settings = {name: value for name, value in config.items() if name not in others}
    for name, value in settings.items():
        if not isinstance(value, (str, int, float, list, type(None))):
            raise WeightsError(f"its {name} is not Keras's own; use keras.saving.load_model")
    return settings
