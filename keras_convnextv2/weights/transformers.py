"""The checkpoints and folders of Hugging Face's transformers (`save_pretrained`)."""

from keras_convnextv2.weights.description import Description, checked_names, licence_of
from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.folders import CONFIG_NAME
from keras_convnextv2.weights.format import Format, block_names
from keras_convnextv2.weights.layouts import response_norm

_LARGEST_EPSILON = 1e-5  # of the last LayerNorm; at 1e-6 and below it is lost in rounding
_EXACT_GELU = ("gelu", "gelu_python")  # transformers' names for it
_KINDS = {"response_norm": response_norm("weight", "bias", "1 1 1 c")}


def _names(prefix):
    layers = f"{prefix}encoder.stages.{{}}"
    return {
        "stem/conv": f"{prefix}embeddings.patch_embeddings",
        "stem/norm": f"{prefix}embeddings.layernorm",
        "stage{}_downsample/norm": f"{layers}.downsampling_layer.0",
        "stage{}_downsample/conv": f"{layers}.downsampling_layer.1",
        **block_names(f"{layers}.layers.{{}}", "dwconv layernorm pwconv1 grn pwconv2"),
        "norm": f"{prefix}layernorm",
        "head": "classifier",
    }


def _write_config(sizes, description):
    height, width = description.image_size
    names = description.class_names
    if sizes.num_classes is not None and names is None:
        names = [f"LABEL_{index}" for index in range(sizes.num_classes)]
    config = {
        "architectures": ["ConvNextV2ForImageClassification" if names else "ConvNextV2Model"],
        "model_type": "convnextv2",
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
    if names:
        config["id2label"] = {str(index): name for index, name in enumerate(names)}
        config["label2id"] = {name: index for index, name in enumerate(names)}
    if description.licence:
        config["license"] = description.licence
    return config


def _read_config(config):
    if config.get("model_type") != "convnextv2":
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


TRANSFORMERS = Format(
    name="transformers",
    entry=None,
    names=_names("convnextv2."),
    kinds=_KINDS,
    write_config=_write_config,
    read_config=_read_config,
)

# The same without its head is saved without the prefix.
TRANSFORMERS_BASE = Format("transformers (base model)", _names(""), _KINDS, entry=None)
