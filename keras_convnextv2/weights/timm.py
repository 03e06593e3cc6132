"""timm's checkpoints, and the folders its `local-dir:` loads and its hub holds.

Those of ConvNeXt V1 (`convnext_*`) differ in what a block has: a layer scale, `gamma`, for GRN.
"""

from keras_convnextv2.layers.block_spec import PAPER_BLOCK
from keras_convnextv2.weights.description import (
    Description,
    checked_names,
    licence_of,
    normalisation_of,
)
from keras_convnextv2.weights.format import Format, block_names
from keras_convnextv2.weights.layouts import POINTWISE, layer_scale, response_norm

# Of these sizes timm computes the linear layers of a block as convolutions.
_CONVOLUTIONAL = ("atto", "femto", "pico", "nano")
_XLARGE = (3, 3, 27, 3), (256, 512, 1024, 2048)  # of ConvNeXt V1 alone, which has no huge one


def architecture(variant):
    """timm's name of a size, as "convnextv2_atto" or, of ConvNeXt V1, "convnext_tiny"; or None."""
    name = variant.size_name
    if variant.block == PAPER_BLOCK:
        return name and f"convnextv2_{name}"
    if (variant.depths, variant.widths) == _XLARGE:
        return "convnext_xlarge"
    return None if name in (None, "huge") else f"convnext_{name}"


def _kinds_for(sizes):
    if sizes.variant.size_name not in _CONVOLUTIONAL:
        return {}
    return {"expand": POINTWISE, "project": POINTWISE}


def _write_config(sizes, description):
    if architecture(sizes.variant) is None:
        return None  # timm builds the sizes it has a name for
    height, width = description.image_size
    config = {
        "architecture": architecture(sizes.variant),
        "num_classes": sizes.num_classes or 0,
        "num_features": sizes.variant.widths[-1],
        "pretrained_cfg": {
            "num_classes": sizes.num_classes or 0,
            "input_size": [sizes.channels, height, width],
            "first_conv": "stem.0",
            "classifier": "head.fc",
        },
    }
    if description.class_names:
        config["label_names"] = list(description.class_names)
    if description.licence:
        config["pretrained_cfg"]["license"] = description.licence
    if description.normalisation:
        mean, std = map(list, description.normalisation)
        config["pretrained_cfg"] |= {"mean": mean, "std": std}
    return config


def _read_config(config):
    if not isinstance(config.get("architecture"), str):
        return None
    pretrained = config.get("pretrained_cfg")
    pretrained = pretrained if isinstance(pretrained, dict) else {}
    size = pretrained.get("input_size")
    size = size if isinstance(size, list) and len(size) == 3 else None
    given = [pretrained.get("mean"), pretrained.get("std")]
    # timm leaves those of RGB images beside weights for others.
    is_of_images = size and all(isinstance(v, list) and len(v) == size[0] for v in given)
    return Description(
        class_names=checked_names(config.get("label_names")),
        image_size=tuple(size[1:]) if size else None,
        licence=licence_of(pretrained.get("license")),
        normalisation=normalisation_of(given if is_of_images else None),
    )


TIMM = Format(
    name="timm",
    entry=None,
    names={
        "stem/conv": "stem.0",
        "stem/norm": "stem.1",
        "stage{}_downsample/norm": "stages.{}.downsample.0",
        "stage{}_downsample/conv": "stages.{}.downsample.1",
        **block_names("stages.{}.blocks.{}", "conv_dw norm mlp.fc1 mlp.grn mlp.fc2"),
        "stage{}_block{}/layer_scale": "stages.{}.blocks.{}",
        "norm": "head.norm",
        "head": "head.fc",
    },
    kinds={
        "response_norm": response_norm("weight", "bias", "c"),
        "layer_scale": layer_scale("gamma"),
    },
    kinds_for=_kinds_for,
    write_config=_write_config,
    read_config=_read_config,
)
