"""Building the model that weights are of."""

import dataclasses
import warnings

from keras_convnextv2.fcmae import FCMAE
from keras_convnextv2.models import ConvNeXtV2Backbone, ConvNeXtV2Classifier
from keras_convnextv2.models.frozen_layers import freeze_again
from keras_convnextv2.weights.description import USUAL_IMAGE_SIZE, announce_licence
from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.files import open_weights
from keras_convnextv2.weights.matching import check_whole, identify, match, shorten
from keras_convnextv2.weights.model_weights import named_weights
from keras_convnextv2.weights.stem_channels import STEM_KERNEL, for_channels


def from_preset(
    source,
    image_size=None,
    drop_path_rate=None,
    dtype=None,
    entry=None,
    channels=None,
    num_classes=None,
    head=True,
):
    """Builds the model whose weights a file, a folder or the hub holds, and loads them.

        model = from_preset("hf://timm/convnextv2_atto.fcmae_ft_in1k")
        backbone = from_preset("convnextv2_tiny_1k_224_fcmae.pt")
        of_parts = from_preset("hf://timm/convnextv2_atto.fcmae", channels=1, num_classes=7)
        first_version = from_preset("hf://timm/convnext_tiny.fb_in1k")

    Sizes, stem, channels, classes and whether the blocks are ConvNeXt V2's or V1's follow from the
    weights. Formats are those of `load_weights`.
    `PRESETS` lists the public weights. Their licence is printed once.

    Args:
        source: path of a file or folder, the folder of a run too, or "hf://owner/name". A folder
            that `save_weights` or a run wrote, and a `.keras` file, say all of their model.
        image_size: (height, width) of the model's input; each may be None, for any. Default: what
            these say, of other weights any; what comes along with the weights is then the
            backbone's `training_image_size`. An `FCMAE` and some exports need a size.
        drop_path_rate: float, stochastic depth of the last block. Default: what these say, else 0.
        dtype: dtype policy or its name. Default: what these say, else Keras's own.
        entry: as in `load_weights`.
        channels: int, of the images; default: those of the weights. For others the stem's kernel
            is summed, or repeated and scaled (`stem_channels.for_channels`), and what images are
            normalised with is not known: `normalisation` is None.
        num_classes: int, for a classifier with so many classes. Where the weights have a head of
            another size, or none, the head is new, its LayerNorm too where there is none.
        head: bool; False gives the backbone alone, whatever stands beside it in the file: a head of
            this or of another library, or somebody's own. A warning names keys that are not known.

    Returns:
        ConvNeXtV2Classifier, with `class_names` where they come along, and logits as output (of a
        folder of our own and a `.keras` file its activation); or ConvNeXtV2Backbone, where the
        weights have no head. FCMAE where `source` is a folder of our own of one. Elsewhere a
        decoder is left out (`load_weights` gives it to an `FCMAE`), and so is, with a warning, a
        LayerNorm without a head behind it.

    Raises:
        ValueError: `channels` or `num_classes` is no positive int, or is given beside `head=False`.
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
    for name, value in (("channels", channels), ("num_classes", num_classes)):
        if value is not None and (type(value) is not int or value < 1):
            raise ValueError(f"`{name}` must be a positive int. Received: {value!r}")
    if num_classes is not None and not head:
        raise ValueError(f"`head=False` is a backbone. Received beside it: {num_classes=}")
    contents = identify(open_weights(source, entry))
    sizes = contents.sizes
    is_other = (channels, num_classes) != (None, None)
    if not head or is_other or not contents.checkpoint.is_own_folder:
        sizes = dataclasses.replace(sizes, decoder=None)
    if not head:
        sizes = dataclasses.replace(sizes, num_classes=None)
    _check(contents, sizes, with_norm=num_classes is not None, with_others=not head)
    if channels is not None:
        sizes = dataclasses.replace(sizes, channels=channels)
    if num_classes is not None:
        sizes = dataclasses.replace(sizes, num_classes=num_classes)
    if image_size is None and contents.checkpoint.model_config is None:
        image_size = (None, None)
    model = build(contents, sizes, image_size, drop_path_rate, dtype)
    announce_licence(contents.checkpoint.description.licence, contents.may_be_metas)
    return model


def model_of(checkpoint, image_size=None, with_decoder=False):
    """The model of what `open_weights` opened; an FCMAE too, `with_decoder`.

    Args:
        checkpoint: a `Checkpoint`.
        image_size: as in `from_preset`, but by default that of a `.keras` file, else what comes
            along with the weights, else 224x224.
        with_decoder: bool.
    """
    contents = identify(checkpoint)
    sizes = contents.sizes
    if not with_decoder:
        sizes = dataclasses.replace(sizes, decoder=None)
    _check(contents, sizes)
    model = build(contents, sizes, image_size)
    announce_licence(checkpoint.description.licence, contents.may_be_metas)
    return model


def _check(contents, sizes, with_norm=False, with_others=False):
    """Before a model is built: what a file declares could make it enormous.

    Args:
        contents: a `Contents`.
        sizes: the `Sizes` that it must have all weights of.
        with_norm: bool, whether a LayerNorm without a head behind it is of use.
        with_others: bool, whether keys may stand there that are of no part of a model.
    """
    checkpoint = contents.checkpoint
    checkpoint.description.demand_channels(sizes.channels, checkpoint.path)
    left_out = check_whole(contents, sizes, with_others)
    parts = contents.parts()
    unknown = [key for key in left_out if key not in parts]
    norm = [key for key in left_out if parts.get(key) == "head"]
    if unknown:
        _warn(f"{checkpoint.path}: left out are {shorten(unknown)}.")
    if norm and not with_norm and not with_others:
        _warn(f"{checkpoint.path} has no head for its {shorten(norm)}, which are left out.")


def _warn(message):
    warnings.warn(message, stacklevel=4)


def build(contents, sizes, image_size=None, drop_path_rate=None, dtype=None, as_saved=False):
    """The model of a checkpoint that has been checked, with its weights.

    Args:
        contents: a `Contents`.
        sizes: the model's `Sizes`: those of the contents, without a head or a decoder, or with
            other channels or another head.
        image_size: as in `model_of`.
        drop_path_rate, dtype: as in `from_preset`.
        as_saved: bool; True: names are those of a `.keras` file, too.

    Raises:
        WeightsError: what the file says of its model is not possible.
    """
    checkpoint = contents.checkpoint
    try:
        model = _build(checkpoint, sizes, image_size, drop_path_rate, dtype, as_saved)
        if sizes.num_classes is not None and sizes.num_classes == contents.sizes.num_classes:
            checkpoint.description.describe_head(model)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"No model can be built for {checkpoint.path}: {error}") from error
    shapes = dataclasses.replace(sizes, channels=contents.sizes.channels).shapes()
    weights = named_weights(model)
    for name in match(contents, shapes).found:  # others are those of a new head
        array = contents.read(name, shapes[name], weights[name].dtype)
        if name == STEM_KERNEL:
            array = for_channels(array, sizes.channels)
        weights[name].assign(array)
    checkpoint.description.describe(getattr(model, "backbone", model))
    return model


def _build(checkpoint, sizes, image_size, drop_path_rate, dtype, as_saved):
    config = checkpoint.model_config or {"backbone": {}}
    backbone = _settings(config["backbone"], as_saved)
    saved_shape, frozen = backbone.pop("image_shape", None), backbone.pop("frozen", [])
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
    freeze_again(backbone.layers, frozen)
    if sizes.num_classes is None and sizes.decoder is None:
        return backbone
    settings = _settings(config, as_saved)
    frozen = settings.pop("frozen", [])
    if sizes.decoder is not None:
        decoder = {"decoder_width": sizes.decoder.width, "decoder_depth": sizes.decoder.depth}
        fcmae = FCMAE(backbone, **{**settings, **decoder})
        freeze_again([fcmae.decoder], frozen)
        return fcmae
    names = checkpoint.description.class_names
    settings["class_names"] = names if names and len(names) == sizes.num_classes else None
    classifier = ConvNeXtV2Classifier(backbone, **{**settings, "num_classes": sizes.num_classes})
    freeze_again(classifier.layers_of_head(), frozen)
    return classifier


def _settings(config, as_saved):
    """The arguments in a `.keras` file's configuration that are plain values.

    Raises:
        WeightsError: one of them would name a class or a function.
    """
    others = {"class_name", "backbone", "variant", "name"} - ({"name"} if as_saved else set())
    # What the description says:
    others |= {"licence", "normalisation", "training_image_size", "pixel_range", "temperature"}
    settings = {name: value for name, value in config.items() if name not in others}
    for name, value in settings.items():
        if not isinstance(value, (str, int, float, list, type(None))):
            raise WeightsError(f"its {name} is not Keras's own; use keras.saving.load_model")
    return settings
