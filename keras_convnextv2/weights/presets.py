"""The table of public weights."""

import dataclasses

from keras_convnextv2.weights.description import META_LICENCE


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

    Examples:
        >>> import keras_convnextv2 as kc
        >>> preset = kc.PRESETS["hf://timm/convnextv2_tiny.fcmae"]
        >>> preset.variant, preset.image_size, preset.num_classes
        ('tiny', 224, None)
        >>> isinstance(preset, kc.weights.Preset)
        True
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
"""The public weights by what `from_preset` takes, each a `Preset`.

Examples:
    >>> import keras_convnextv2 as kc
    >>> len(kc.PRESETS)
    26
    >>> kc.PRESETS["hf://timm/convnextv2_atto.fcmae_ft_in1k"].licence
    'cc-by-nc-4.0'
"""
