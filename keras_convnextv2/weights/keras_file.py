"""What Keras saves: `.keras` files and `.weights.h5` files, of this library's models.

Neither is given to Keras: a `.keras` file's configuration may name any class, and is only looked
through here for this library's own arguments.
"""

import io
import itertools
import json
import re

from keras_convnextv2.models.variants import NUM_STAGES, Variant, resolve_variant
from keras_convnextv2.weights.checkpoint import FLOATS, Checkpoint
from keras_convnextv2.weights.description import (
    Description,
    checked_names,
    licence_of,
    normalisation_of,
)
from keras_convnextv2.weights.errors import WeightsError, in_brief
from keras_convnextv2.weights.hdf5_file import Window, stored_tensors
from keras_convnextv2.weights.zip_entries import ZipEntry, open_archive

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
_PACKAGE = "keras_convnextv2>"
_MAX_SIDE = 1 << 16  # pixels
_POLICIES = (*FLOATS, "mixed_float16", "mixed_bfloat16")

# Keras names layers in a file by their class and a count: sequential, sequential_1, ...
_COUNT = "(_[1-9][0-9]{0,3})?"
_FIRST_BLOCK = "layers/conv_ne_xt_v2_block/depthwise/vars/0"
_NAMES = {"norm": ("gamma", "beta"), "response_norm": ("gamma", "beta")}
_SEQUENTIAL = {"conv2d": "conv", "layer_normalization": "norm"}
_NOT_WEIGHTS = re.compile(r"optimizer/|vars/\d+$")  # the latter: FCMAE's count of steps


def read_keras(path):
    """Opens a `.keras` file as a checkpoint under our own names.

    Raises:
        WeightsError: it is damaged, or of another model.
    """
    try:
        with open_archive(path) as archive:
            config = ZipEntry(path, archive, CONFIG)
            weights = ZipEntry(path, archive, WEIGHTS)
        config = _own_arguments(json.loads(config.read()))
        normalisation = normalisation_of(config["backbone"].get("normalisation"))
        weights.check()
        tensors = stored_tensors(path, Window(path, weights.offset, weights.size))
    except WeightsError as error:
        raise WeightsError(f"{path} was refused: {error}") from error
    except Exception as error:  # damaged bytes make json, zipfile and struct raise anything
        raise WeightsError(f"{path} is damaged or no .keras file: {in_brief(error)}") from error
    variant = config["backbone"]["variant"]
    names = checked_names(config.get("class_names"))
    shape = config["backbone"].get("image_shape")
    size = tuple(shape[:2]) if isinstance(shape, list) else None
    return Checkpoint(
        path,
        "Keras",
        _under_our_names(path, tensors, variant),
        Description(names, size, licence_of(config["backbone"].get("licence")), normalisation),
        model_config=config,
    )


def read_hdf5(path, variant=None):
    """Opens a `.weights.h5` file as a checkpoint under our own names.

    Args:
        path: of the file.
        variant: its `Variant`; None finds it by the shapes, where no widths repeat.

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
    return Checkpoint(path, "Keras HDF5", _under_our_names(path, tensors, variant))


def _own_arguments(config):
    """The arguments of this library's models in a model's configuration.

    Returns:
        {"class_name": ..., "backbone": {...}, and the other arguments of the model}.
    """
    kind = _class_name(config)
    arguments = dict(config["config"])
    if kind == "ConvNeXtV2Backbone":
        arguments = {"backbone": config}
    if _class_name(arguments["backbone"]) != "ConvNeXtV2Backbone":
        raise WeightsError("its backbone is none of this library")
    backbone = dict(arguments["backbone"]["config"])
    if "quantization" in arguments or "quantization" in backbone:
        raise WeightsError(
            "its linear layers are quantized; load it with keras.saving.load_model, or take the "
            "model as it was before"
        )
    backbone["variant"] = resolve_variant(backbone["variant"])
    policy = backbone.get("dtype")
    if isinstance(policy, dict):
        backbone["dtype"] = policy["config"]["name"]
    for name, is_possible in _POSSIBLE.items():
        if name in backbone and not is_possible(backbone[name]):
            raise WeightsError(f"its {name} is {repr(backbone[name])[:100]}")
    return {**arguments, "class_name": kind, "backbone": backbone}


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
    kinds = ("ConvNeXtV2Backbone", "ConvNeXtV2Classifier", "FCMAE")
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
    first = [name for name in tensors if name.endswith(_FIRST_BLOCK)]
    if len(first) != 1:
        return tensors
    root = first[0].removesuffix(_FIRST_BLOCK)
    if variant is None:
        variant = _variant_by_shapes(path, tensors, root)
    if sum(variant.depths) > len(tensors):
        raise WeightsError(f"{path} holds fewer blocks than its configuration says.")
    blocks = [
        f"stage{stage}_block{block}"
        for stage, depth in enumerate(variant.depths)
        for block in range(depth)
    ]
    renamed = {}
    for name, tensor in tensors.items():
        ours = _our_name(name, root, blocks)
        if ours or not _NOT_WEIGHTS.match(name):
            renamed[ours or name] = tensor
    return renamed


def _our_name(name, root, blocks):
    """Our name of one weight, or None."""
    layers = re.escape(f"{root}layers/")
    block = rf"conv_ne_xt_v2_block{_COUNT}/(\w+)/vars/([01])"
    patterns = (
        (layers + block, _block_name(blocks)),
        (rf"{layers}sequential{_COUNT}/layers/(\w+)/vars/([01])", _sequential_name),
        (f"decoder/blocks/{block}", _decoder_block_name),
        (r"decoder/(project|predict_pixels)/vars/([01])", _decoder_name),
        (r"decoder/vars/0", lambda: "decoder/mask_token"),
        (r"layers/layer_normalization/vars/([01])", lambda index: _weight("norm", "norm", index)),
        (r"layers/dense/vars/([01])", lambda index: _weight("head", "head", index)),
    )
    for pattern, to_name in patterns:
        if match := re.fullmatch(pattern, name):
            return to_name(*match.groups())
    return None


def _weight(layer, part, index):
    return f"{layer}/{_NAMES.get(part, ('kernel', 'bias'))[int(index)]}"


def _count(suffix):
    return int(suffix[1:]) if suffix else 0


def _block_name(blocks):
    def name(suffix, part, index):
        place = _count(suffix)
        return _weight(f"{blocks[place]}/{part}", part, index) if place < len(blocks) else None

    return name


def _sequential_name(suffix, part, index):
    place, part = _count(suffix), _SEQUENTIAL.get(part)
    layer = f"stage{place}_downsample" if place else "stem"
    return part and _weight(f"{layer}/{part}", part, index)


def _decoder_block_name(suffix, part, index):
    return _weight(f"decoder/block{_count(suffix)}/{part}", part, index)


def _decoder_name(part, index):
    return _weight(f"decoder/{part}", part, index)


def _variant_by_shapes(path, tensors, root):
    """The variant of a file that does not name it: equal widths in a row are one stage."""

    def width(kind, place, rest):
        suffix = f"_{place}" if place else ""
        tensor = tensors.get(f"{root}layers/{kind}{suffix}/{rest}/vars/1")
        return (tensor.shape[0] or None) if tensor is not None and len(tensor.shape) == 1 else None

    stages = [width("sequential", place, "layers/conv2d") for place in range(NUM_STAGES)]
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
