"""The checkpoints and folders of Hugging Face's transformers (`save_pretrained`).

ConvNeXt V2 and V1 are two model types there, `convnextv2` and `convnext`.
"""

from keras_convnextv2.layers.block_spec import FIRST_VERSION_BLOCK, PAPER_BLOCK
from keras_convnextv2.weights.description import Description, checked_names, licence_of
from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.folders import CONFIG_NAME
from keras_convnextv2.weights.format import Format, block_names
from keras_convnextv2.weights.layouts import layer_scale, response_norm

_LARGEST_EPSILON = 1e-5  # of the last LayerNorm; at 1e-6 and below it is lost in rounding
_EXACT_GELU = ("gelu", "gelu_python")  # transformers' names for it
_KINDS = {
    "response_norm": response_norm("weight", "bias", "1 1 1 c"),
    "layer_scale": layer_scale("layer_scale_parameter"),
}
_MODEL_TYPES = ("convnextv2", "convnext")


def _names(prefix):
    layers = f"{prefix}encoder.stages.{{}}"
    return {
        "stem/conv": f"{prefix}embeddings.patch_embeddings",
        "stem/norm": f"{prefix}embeddings.layernorm",
        "stage{}_downsample/norm": f"{layers}.downsampling_layer.0",
        "stage{}_downsample/conv": f"{layers}.downsampling_layer.1",
        **block_names(f"{layers}.layers.{{}}", "dwconv layernorm pwconv1 grn pwconv2"),
        "stage{}_block{}/layer_scale": f"{layers}.layers.{{}}",
        "norm": f"{prefix}layernorm",
        "head": "classifier",
    }


def _without(names, part):
    """The names without those of a part of the blocks."""
    return {ours: theirs for ours, theirs in names.items() if not ours.endswith(f"/{part}")}


def _write_config(sizes, description):
    block = sizes.variant.block
    kind = "ConvNextV2" if block == PAPER_BLOCK else "ConvNext"
    height, width = description.image_size
    names = description.class_names
    if sizes.num_classes is not None and names is None:
        names = [f"LABEL_{index}" for index in range(sizes.num_classes)]
    config = {
        "architectures": [f"{kind}ForImageClassification" if names else f"{kind}Model"],
        "model_type": kind.lower(),
        "num_channels": sizes.channels,
        "patch_size": sizes.stem_stride,
        "num_stages": len(sizes.variant.depths),
        "hidden_sizes": list(sizes.variant.widths),
        "depths": list(sizes.variant.depths),
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,  # of the last LayerNorm; transformers' own default is 1e-12
        "drop_path_rate": 0.0,
        "image_size": height if height == width else [height, width],
    }
    if block != PAPER_BLOCK:  # at 0 or less transformers makes none
        initial = block.layer_scale if block.layer_scale > 0 else FIRST_VERSION_BLOCK.layer_scale
        config["layer_scale_init_value"] = initial
    if names:
        config["id2label"] = {str(index): name for index, name in enumerate(names)}
        config["label2id"] = {name: index for index, name in enumerate(names)}
    if description.licence:
        config["license"] = description.licence
    return config


def _read_config(config):
    if config.get("model_type") not in _MODEL_TYPES:
        return None
    activation = config.get("hidden_act", _EXACT_GELU[0])
    if activation not in _EXACT_GELU:
        raise WeightsError(
            f"{CONFIG_NAME} says hidden_act={activation!r}; the models here compute the exact GELU "
            f"alone ({', '.join(_EXACT_GELU)}), so that they would give other results."
        )
    epsilon = config.get("layer_norm_eps", 0.0)
    if not isinstance(epsilon, (int, float)) or not 0 <= epsilon <= _LARGEST_EPSILON:
        raise WeightsError(
            f"{CONFIG_NAME} says layer_norm_eps={epsilon!r}; the models here have 1e-6, so that "
            "they would give other results."
        )
    names = None
    labels = config.get("id2label")
    if isinstance(labels, dict):
        names = [labels.get(str(index)) for index in range(len(labels))]
        if names == [f"LABEL_{index}" for index in range(len(labels))]:
            names = None  # placeholders
    size = config.get("image_size")
    return Description(
        class_names=checked_names(names),
        image_size=tuple(size) if isinstance(size, list) else (size, size),
        licence=licence_of(config.get("license")),
    )


TRANSFORMERS_FIRST_VERSION = Format(
    name="transformers",
    entry=None,
    names=_without(_names("convnext."), "response_norm"),
    kinds=_KINDS,
    write_config=_write_config,
)
TRANSFORMERS = Format(
    name="transformers",
    entry=None,
    names=_without(_names("convnextv2."), "layer_scale"),
    kinds=_KINDS,
    write_config=_write_config,
    read_config=_read_config,
    first_version=TRANSFORMERS_FIRST_VERSION,
)

# The same without its head is saved without the prefix.
TRANSFORMERS_BASE = Format("transformers (base model)", _names(""), _KINDS, entry=None)
