"""How training images are changed at random: the flags of fine-tuning, and what they stand for."""

import sys

from absl import flags

from . import training_flags

FLAGS = flags.FLAGS


def define_flags():
    flags.DEFINE_string(
        "randaugment",
        "",
        "Policy of RandAugment in timm's notation, rand-m9-mstd0.5-inc1 in the paper. Empty: none.",
    )
    flags.DEFINE_float(
        "color_jitter",
        0.0,
        "Brightness, contrast and saturation are changed by up to this share.",
        lower_bound=0,
    )
    flags.DEFINE_float(
        "erase_probability",
        0.0,
        "Share of the images of which a rectangle is filled with noise.",
        lower_bound=0,
        upper_bound=1,
    )
    flags.DEFINE_float("mixup", 0.0, "Alpha of mixup; 0: none.", lower_bound=0)
    flags.DEFINE_float("cutmix", 0.0, "Alpha of cutmix; 0: none.", lower_bound=0)
    flags.DEFINE_float(
        "label_smoothing", None, "Share of a label that is spread over all.", lower_bound=0
    )


def augmentation(settings, channels):
    """The `Augmentation` of a fine-tuning, or of a pretraining, which has fewer flags.

    What mixes colours is left out for images of other than three channels, and a line says so.
    """
    from keras_convnextv2.data import Augmentation

    flips = {"none": (0, 0), "horizontal": (0.5, 0), "both": (0.5, 0.5), "turns": (0.5, 0.5)}
    horizontal, vertical = flips[settings.flip]
    crop_scale = training_flags.crop_scale(settings)
    of_finetuning = {}
    if "mixup" in settings:
        of_finetuning = {
            "randaugment": settings.randaugment,
            "randaugment_without": () if channels == 3 else ("Color",),
            "colour_jitter": (settings.color_jitter,) * 2
            + (settings.color_jitter if channels == 3 else 0.0,),
            "erase_probability": settings.erase_probability,
            "mixup": settings.mixup,
            "cutmix": settings.cutmix,
            "label_smoothing": settings.label_smoothing,
        }
        if channels != 3 and (settings.randaugment or settings.color_jitter):
            print(
                f"augmentation     changes of colour are left out of {channels} channel(s)",
                file=sys.stderr,
            )
    return Augmentation(
        crop_scale=crop_scale,
        max_shift=0 if crop_scale else settings.max_shift,
        horizontal_flip=horizontal,
        vertical_flip=vertical,
        quarter_turns=settings.flip == "turns",
        **of_finetuning,
    )
