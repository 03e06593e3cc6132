"""What Keras saves: `.keras` files and `.weights.h5` files, of this library's models.

Neither is given to Keras: a `.keras` file's configuration may name any class, and is only looked
through here for this library's own arguments.
"""

import dataclasses
import io
import itertools
import json

from keras_convnextv2.models.variants import NUM_STAGES, Variant, resolve_variant
from keras_convnextv2.weights.checkpoint import FLOATS, Checkpoint
from keras_convnextv2.weights.description import (
    Description,
    checked_block,
    checked_names,
    licence_of,
    normalisation_of,
    pixel_range_of,
    temperature_of,
)
from keras_convnextv2.weights.errors import WeightsError, in_brief
from keras_convnextv2.weights.hdf5_file import Window, stored_tensors
from keras_convnextv2.weights.sizes import Decoder, Sizes, part_of
from keras_convnextv2.weights.skeleton import weights_of
from keras_convnextv2.weights.zip_entries import ZipEntry, open_archive

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
_PACKAGE = "keras_convnextv2>"
_LATENT_PREDICTION = "LatentPrediction"
_MAX_SIDE = 1 << 16  # pixels
_POLICIES = (*FLOATS, "mixed_float16", "mixed_bfloat16")

_FIRST_BLOCK = "layers/conv_ne_xt_v2_block/depthwise/vars/0"
_OPTIMIZER = "optimizer/"
# What layers were called in files before.
_EARLIER = {"/response_norm/": "/response/", "/conv2d/": "/patch_convolution/"}


def read_keras(path):
    """Opens a `.keras` file as a checkpoint under our own names.

    Raises:
        WeightsError: it is damaged, or of another model.
    """
    try:
        with open_archive(path) as archive:
            config = ZipEntry(path, archive, CONFIG)
            weights = ZipEntry(path, archive, WEIGHTS)
        config = own_arguments(json.loads(config.read()))
        normalisation = normalisation_of(config["backbone"].get("normalisation"))
        pixel_range = pixel_range_of(config["backbone"].get("pixel_range"))
        temperature = temperature_of(config.get("temperature"))
        weights.check()
        tensors = stored_tensors(path, Window(path, weights.offset, weights.size))
        if config.get("decoder") is not None:  # somebody's own, which only Keras can load
            tensors = {name: t for name, t in tensors.items() if not name.startswith("decoder/")}
        if config["class_name"] == _LATENT_PREDICTION:  # its backbone alone: it is the student
            tensors = {name: t for name, t in tensors.items() if name.startswith("backbone/")}
    except WeightsError as error:
        raise WeightsError(f"{path} was refused: {error}") from error
    except Exception as error:  # damaged bytes make json, zipfile and struct raise anything
        raise WeightsError(f"{path} is damaged or no .keras file: {in_brief(error)}") from error
    variant = config["backbone"]["variant"]
    names = checked_names(config.get("class_names"))
    size = config["backbone"].get("image_shape", [])[:2]
    if len(size) != 2 or None in size:
        size = config["backbone"].get("training_image_size")
    return Checkpoint(
        path,
        "Keras",
        _under_our_names(path, tensors, variant),
        Description(
            names,
            tuple(size) if isinstance(size, list) else None,
            licence_of(config["backbone"].get("licence")),
            normalisation,
            variant.block,
            pixel_range,
            temperature,
            config.get("multi_label") is True or None,
        ),
        model_config=config,
    )


def read_hdf5(path, variant=None):
    """Opens a `.weights.h5` file as a checkpoint under our own names.

    Args:
        path: of the file.
        variant: its `Variant`; None finds it by the shapes, where no widths repeat and the
            blocks are the paper's.

    Raises:
        WeightsError: it is damaged or of another model.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, io.SEEK_END)
        tensors = stored_tensors(path, Window(path, 0, size))
    except Exception as error:  # damaged bytes make struct raise anything
        reason = error if isinstance(error, WeightsError) else in_brief(error)
        raise WeightsError(f"{path} is damaged or no weights file of Keras: {reason}") from error
    description = Description(block=variant and variant.block)
    return Checkpoint(path, "Keras HDF5", _under_our_names(path, tensors, variant), description)


def own_arguments(config):
    """The arguments of this library's models in a model's configuration.

    Args:
        config: what Keras serializes a model to, from a file: anything that JSON holds.

    Returns:
        {"class_name": ..., "backbone": {...}, and the other arguments of the model}; of latent
        prediction none but the backbone's.
    """
    kind = _class_name(config)
    arguments = dict(config["config"])
    if kind == "ConvNeXtV2Backbone":
        arguments = {"backbone": config}
    if kind == _LATENT_PREDICTION:
        arguments = {"backbone": arguments["backbone"]}
    if _class_name(arguments["backbone"]) != "ConvNeXtV2Backbone":
        raise WeightsError("its backbone is none of this library")
    backbone = dict(arguments["backbone"]["config"])
    if "quantization" in arguments or "quantization" in backbone:
        raise WeightsError(
            "its linear layers are quantized; load it with keras.saving.load_model, or take the "
            "model as it was before"
        )
    saved = backbone["variant"]
    if isinstance(saved, dict) and "block" in saved:
        saved = {**saved, "block": checked_block(saved["block"])}
    backbone["variant"] = resolve_variant(saved)
    policy = backbone.get("dtype")
    if isinstance(policy, dict):
        backbone["dtype"] = policy["config"]["name"]
    for name, is_possible in _POSSIBLE.items():
        if name in backbone and not is_possible(backbone[name]):
            raise WeightsError(f"its {name} is {repr(backbone[name])[:100]}")
    return {**arguments, "class_name": kind, "backbone": backbone}


def is_of_own_model(config):
    """Whether a configuration says that it is of one of this library's models."""
    return isinstance(config, dict) and str(config.get("registered_name")).startswith(_PACKAGE)


def _is_image_shape(shape):
    return (
        isinstance(shape, list)
        and len(shape) == 3
        and all(side is None or (type(side) is int and 0 < side <= _MAX_SIDE) for side in shape)
    )


_POSSIBLE = {
    "image_shape": _is_image_shape,
    "drop_path_rate": lambda rate: type(rate) in (int, float) and 0 <= rate < 1,
    "seed": lambda seed: seed is None or type(seed) is int,
    "dtype": lambda name: name is None or name in _POLICIES,
}


def _class_name(config):
    name = config.get("registered_name")
    kinds = ("ConvNeXtV2Backbone", "ConvNeXtV2Classifier", "FCMAE", _LATENT_PREDICTION)
    if name not in [_PACKAGE + kind for kind in kinds]:
        shown = repr(name or config.get("class_name"))[:100]
        raise WeightsError(f"it holds a model {shown}, not one of {', '.join(kinds)}")
    return name.removeprefix(_PACKAGE)


def _under_our_names(path, tensors, variant):
    """{our name: StoredTensor}; what is not known keeps its name.

    Args:
        tensors: {name in the file: StoredTensor}.
        variant: a `Variant`, or None where only the file's shapes tell.
    """
    today = {_of_today(name): tensor for name, tensor in tensors.items()}
    if len(today) != len(tensors):
        raise WeightsError(f"{path} holds layers under both their earlier and their present names.")
    tensors = today
    first = [name for name in tensors if name.endswith(_FIRST_BLOCK)]
    if len(first) != 1:
        return tensors
    root = first[0].removesuffix(_FIRST_BLOCK)
    if variant is None:
        variant = _variant_by_shapes(path, tensors, root)
    if sum(variant.depths) > len(tensors):
        raise WeightsError(f"{path} holds fewer blocks than its configuration says.")
    depth = sum(name.startswith("decoder/blocks/") for name in tensors)  # at most
    # The names alone count here, not the widths.
    variant = dataclasses.replace(variant, widths=(1,) * NUM_STAGES)
    sizes = Sizes(variant, 1, 1, num_classes=1, decoder=Decoder(1, depth, 1))
    ours = {}
    for weight in weights_of(sizes):
        before = root if part_of(weight.name) == "backbone" else ""
        ours[before + _of_today(weight.saved_as)] = weight.name
    return {
        ours.get(name, name): tensor
        for name, tensor in tensors.items()
        if name in ours or not (name.startswith(_OPTIMIZER) or "int" in tensor.dtype)
    }


def _of_today(name):
    for earlier, today in _EARLIER.items():
        name = name.replace(earlier, today)
    return name


def _variant_by_shapes(path, tensors, root):
    """The variant of a file that does not name it: equal widths in a row are one stage."""

    def width(kind, place, rest):
        suffix = f"_{place}" if place else ""
        tensor = tensors.get(f"{root}layers/{kind}{suffix}/{rest}/vars/1")
        return (tensor.shape[0] or None) if tensor is not None and len(tensor.shape) == 1 else None

    stages = [width("sequential", place, "layers/patch_convolution") for place in range(NUM_STAGES)]
    blocks = itertools.takewhile(
        lambda found: found is not None,
        (width("conv_ne_xt_v2_block", place, "depthwise") for place in itertools.count()),
    )
    runs = [(found, len(list(run))) for found, run in itertools.groupby(blocks)]
    if [found for found, _ in runs] != stages:
        raise WeightsError(
            f"{path} does not tell its depths: blocks of widths {[found for found, _ in runs]} "
            f"after downsamplings to {stages}. Load it into a model of its "
            "size: load_weights(model, path)."
        )
    return Variant(tuple(depth for _, depth in runs), tuple(stages))
