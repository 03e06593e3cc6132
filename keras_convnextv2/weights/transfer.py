"""Loading and saving the weights of a model in any known format."""

import dataclasses
import warnings
from pathlib import Path

import keras

from keras_convnextv2.models import ConvNeXtV2Classifier
from keras_convnextv2.weights import own_folder
from keras_convnextv2.weights.checkpoint import StoredTensor
from keras_convnextv2.weights.description import (
    announce_licence,
    description_of,
    first_difference,
)
from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.files import open_weights
from keras_convnextv2.weights.formats import format_named
from keras_convnextv2.weights.matching import identify, match, problem, shorten
from keras_convnextv2.weights.model_weights import named_weights, sizes_of
from keras_convnextv2.weights.sizes import part_of
from keras_convnextv2.weights.writing import is_folder, write_weights
from keras_convnextv2.whole_files import whole_file

KERAS_SUFFIXES = (".keras", ".weights.h5")


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did.

    Attributes:
        path: of the file.
        format: its name, as "timm".
        num_loaded: weights loaded.
        new: names of the model's weights that stayed as they were.
        left_out: keys of the file that were not loaded.

    Examples:
        >>> import warnings, keras_convnextv2 as kc
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> backbone = kc.ConvNeXtV2Backbone(small, (64, 64, 3))
        >>> kc.save_weights(kc.ConvNeXtV2Classifier(backbone, 2), "two_classes.safetensors")
        >>> seven = kc.ConvNeXtV2Classifier(backbone, 7)
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")  # it says which weights stay new
        ...     report = kc.load_weights(seven, "two_classes.safetensors", strict=False)
        >>> isinstance(report, kc.weights.LoadReport)
        True
        >>> report.new
        ('head/kernel', 'head/bias')
    """

    path: str
    format: str
    num_loaded: int
    new: tuple
    left_out: tuple

    def __str__(self):
        text = f"{self.path} ({self.format}): {self.num_loaded} weights loaded"
        if self.new:
            parts = sorted({part_of(weight) for weight in self.new})
            text += f"; {len(self.new)} stayed new ({', '.join(parts)}): {shorten(self.new)}"
        if self.left_out:
            text += f"; {len(self.left_out)} of the file left out: {shorten(self.left_out)}"
        return text


def load_weights(model, source, strict=True, entry=None):
    """Loads weights of any known format into a model.

    The format is told by the keys in the file: the official code's (dense, or the MinkowskiEngine
    ones of its pretraining), timm's, transformers', mmpretrain's or Keras's. All but the ones of
    MinkowskiEngine are those of ConvNeXt V1 too, for a model of its blocks. Nothing that a file
    pickles is run. Either all is loaded or, with an error, nothing. The backbone's `licence`,
    `normalisation` and `pixel_range` are afterwards what the file says of its weights, None where
    it says nothing; a classifier's `temperature` is that of the file's head, else 1. One that has
    an activation has none: its head is the file's divided by that.

    Args:
        model: a `ConvNeXtV2Backbone`, a `ConvNeXtV2Classifier` or an `FCMAE`.
        source: path of a file (safetensors, PyTorch's, `.keras`, `.weights.h5`) or of a folder
            with one, or "hf://owner/name" on the Hugging Face hub.
        strict: whether the file must hold the model's weights and no others. Without, a head or a
            decoder that the file lacks or has in another size stays as it is in the model, keys
            that the model lacks are left out, and a warning says which. A weight of the backbone
            that is missing, any other wrong shape and a value that is not finite are errors all
            the same.
        entry: of a PyTorch file that holds several state dicts, the one to take ("model_ema").

    Returns:
        LoadReport.

    Raises:
        WeightsError: the file is damaged or hostile, or does not fit; says what and what to do.

    Examples:
        >>> import keras_convnextv2 as kc
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(small, (64, 64, 3)), 2)
        >>> kc.save_weights(model, "for_meta.pt", format="official")
        >>> print(kc.load_weights(model, "for_meta.pt"))
        for_meta.pt (official): 60 weights loaded
    """
    wanted = sizes_of(model)
    contents = identify(open_weights(source, entry, wanted.variant))
    path, sizes = contents.checkpoint.path, contents.sizes
    if sizes.of_backbone() != wanted.of_backbone():
        blocks = [str(place.variant.block) for place in (sizes, wanted)]
        told = "" if blocks[0] == blocks[1] else f" It has {blocks[0]}, the model {blocks[1]}."
        raise WeightsError(
            f"{path} ({contents.format.name}) holds {sizes.describe()}; the model is "
            f"{wanted.describe()}.{told} `from_preset` builds the model of a file."
        )
    contents.checkpoint.description.demand_channels(wanted.channels, path)
    shapes, others = _comparable(contents, wanted, strict)
    result = match(contents, shapes)
    message = problem(contents, result, f"the {type(model).__name__} ({wanted.describe()})")
    lacks_backbone = any(part_of(weight) == "backbone" for weight in result.missing)
    if message and (strict or result.wrong or lacks_backbone):
        raise WeightsError(message)

    # All is read before any is assigned: an error leaves the model as it was.
    weights = named_weights(model)
    arrays = {name: contents.read(name, shapes[name], weights[name].dtype) for name in result.found}
    if "head/kernel" in arrays:
        arrays |= _head_before_activation(model, arrays, contents.checkpoint)
    for name, array in arrays.items():
        weights[name].assign(array)
    _describe(model, contents, "head/kernel" in arrays)
    report = LoadReport(
        str(path),
        contents.format.name,
        len(arrays),
        tuple([*result.missing, *others]),
        tuple(result.left),
    )
    if report.new or report.left_out:
        warnings.warn(str(report), stacklevel=2)
    return report


def _comparable(contents, wanted, strict):
    """(the shapes to look for, names of the weights that keep their values without a look).

    A head or a decoder of another size is an error, or without `strict` not looked at.
    """
    sizes = contents.sizes
    # The LayerNorm before the head fits whatever the number of classes.
    pairs = {
        "head": (sizes.num_classes, wanted.num_classes),
        "decoder": (sizes.decoder, wanted.decoder),
    }
    differing = [part for part, pair in pairs.items() if None not in pair and pair[0] != pair[1]]
    if differing and strict:
        raise WeightsError(
            f"{contents.checkpoint.path} ({contents.format.name}) holds {sizes.describe()}; the "
            f"model is {wanted.describe()}. With strict=False its {' and '.join(differing)} stays "
            "new."
        )
    shapes = wanted.shapes()
    others = [name for name in shapes if name.startswith(tuple(f"{part}/" for part in differing))]
    return {name: shape for name, shape in shapes.items() if name not in others}, others


def _head_before_activation(model, arrays, checkpoint):
    """What of the head is other where the classifier has an activation: it has no temperature.

    The temperature of the file then divides the kernel and the bias, and so the logits.
    """
    activation, description = model.activation, checkpoint.description
    if activation is keras.activations.linear:
        return {}
    if description.multi_label and activation is not keras.activations.sigmoid:
        raise WeightsError(
            f"{checkpoint.path} has a head for images of several labels, and the classifier has "
            f"the activation {keras.activations.serialize(activation)!r}. Make it without one, or "
            "with 'sigmoid'."
        )
    return {
        name: (arrays[name].astype("float64") / description.temperature).astype(arrays[name].dtype)
        for name in ("head/kernel", "head/bias")
        if description.temperature is not None
    }


def _describe(model, contents, with_head):
    """Says the licence, and gives a classifier the class names of the head that it now has."""
    description = contents.checkpoint.description
    announce_licence(description.licence, contents.may_be_metas)
    description.describe(getattr(model, "backbone", model))
    names = description.class_names
    if with_head:
        description.describe_head(model)
    elif isinstance(model, ConvNeXtV2Classifier):
        model.temperature = 1.0  # it was of the weights before
    if not with_head or names is None or len(names) != model.num_classes:
        return
    if model.class_names not in (None, names):
        place, new, old = first_difference(names, model.class_names)
        warnings.warn(
            f"The classes of the model are now those of {contents.checkpoint.path}: class {place} "
            f"is {new!r}, where the model had {old!r}.",
            stacklevel=3,
        )
    model.class_names = names


def save_weights(model, path, format="keras", dtype=None):
    """Saves the weights of a model as another library's checkpoint, or as our own.

    Each file is written whole or not at all. From the ending of `path`:
    - `.safetensors`: names and layout of the format in a safetensors file.
    - `.pt`, `.pth`, `.bin`: the same in a file for `torch.load`; PyTorch is not needed.
    - `.keras`, `.weights.h5`: what Keras saves, for the format "keras".
    - none: a folder with a config, for `from_preset` here, which then gives the same model (an
      `FCMAE` too), and in the formats "timm" and "transformers", which any other name does for,
      for timm's `local-dir:` and transformers' `from_pretrained`.

    Class names, image size, licence and normalisation go into safetensors files, folders and
    `.keras` files, a pixel range, a temperature and whether images have several labels into
    safetensors and `.keras` files and our own folders.
    Other libraries' models give logits: an activation of the head is left out, with a warning.
    What LoRA adds to a kernel is merged into it. ConvNeXt V1's blocks go into the formats of
    other libraries as V1's weights, but for "minkowski". Blocks that are neither go into the format
    "keras" alone, as a folder, .safetensors, .keras or .weights.h5.

    Args:
        model: a `ConvNeXtV2Backbone`, a `ConvNeXtV2Classifier` or an `FCMAE`.
        path: of the file or folder.
        format: "official", "minkowski", "timm", "transformers", "mmpretrain" or "keras". A
            decoder has a place in "minkowski" and "keras" alone.
        dtype: "float32", "float16" or "bfloat16"; None keeps that of the weights.

    Raises:
        WeightsError: the format has no place for a weight or for the model's blocks, the ending is
            not one of its, or a folder of that name holds something else.

    Examples:
        >>> import keras_convnextv2 as kc
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(small, (64, 64, 3)), 2)
        >>> kc.save_weights(model, "for_mmpretrain.pth", format="mmpretrain", dtype="float16")
        >>> kc.save_weights(model, "for_transformers", format="transformers")  # a folder
        >>> kc.from_preset("for_transformers").num_classes
        2
    """
    sizes = sizes_of(model)
    chosen = format_named(format)
    path = Path(path)
    if path.name.endswith(KERAS_SUFFIXES):
        _save_as_keras(model, path, chosen, dtype)
        return
    tensors = {
        name: StoredTensor(
            tuple(weight.shape),
            keras.backend.standardize_dtype(weight.dtype),
            lambda weight=weight: keras.ops.convert_to_numpy(weight.value),
        )
        for name, weight in named_weights(model).items()
    }
    if chosen.name == "keras" and is_folder(path):
        if dtype is not None:
            raise WeightsError(
                f"A folder of our own has the model's dtype. Received: dtype={dtype!r} for {path}; "
                f"{path}.safetensors can have another."
            )
        own_folder.save(model, path, tensors)
        return
    if getattr(model, "activation", keras.activations.linear) is not keras.activations.linear:
        warnings.warn(f"{path} will give logits: the head's activation is left out.", stacklevel=2)
    write_weights(path, chosen, sizes, tensors, description_of(model), dtype)


def _save_as_keras(model, path, format, dtype):
    if format.name != "keras" or dtype is not None:
        raise WeightsError(
            f"{' and '.join(KERAS_SUFFIXES)} files are Keras's own, of the format 'keras' and the "
            f"model's dtype. Received: format={format.name!r}, dtype={dtype!r} for {path}"
        )
    with whole_file(path) as temporary:
        if path.suffix == ".keras":
            model.save(temporary)
        else:
            model.save_weights(temporary)
