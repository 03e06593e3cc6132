"""What a model's images are normalised with: the one place that decides."""

import sys

from absl import flags

from .printable import printable

FLAGS = flags.FLAGS


def define_flags():
    """--mean and --std."""
    for name in ("mean", "std"):
        flags.DEFINE_list(
            name,
            None,
            f"The {name} of the images that the model was trained on, one number a channel for "
            "pixels in 0..1. Default: what the model says.",
        )


def settle(backbone, source, images=None):
    """Sees to it that `backbone.normalisation` is what its images are to be normalised with.

    That is what the flags say, else what the model says. For a model that says nothing, as weights
    from elsewhere, a line on standard error says what is taken, and why: the numbers of `images`,
    or ImageNet's.

    Args:
        backbone: a `ConvNeXtV2Backbone`.
        source: str, what the model was read from.
        images: optional `ImageSource` of images that the model is tried on.

    Raises:
        ValueError: flags that do not fit, or images that are not RGB and of which nothing is known.
    """
    from keras_convnextv2.data import IMAGENET_MEAN, IMAGENET_STD

    channels = backbone.image_shape[-1]
    if FLAGS.mean is not None or FLAGS.std is not None:
        backbone.normalisation = _from_flags(channels)
    if backbone.normalisation is not None:
        return
    if images is not None:
        found, why = (images.mean, images.std), f"those of the images: {images.description}"
    elif channels == len(IMAGENET_MEAN):
        found, why = (IMAGENET_MEAN, IMAGENET_STD), "ImageNet's"
    else:
        raise ValueError(
            f"What images of {channels} channel(s) are to be normalised with is not known: "
            f"{source} does not say it. Give --mean and --std."
        )
    backbone.normalisation = found
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in found)
    remark = (
        f"{source} does not say what its images were normalised with. Taken: mean {mean}, "
        f"std {std}, {why}."
    )
    print(printable(remark), file=sys.stderr)


def _from_flags(channels):
    from keras_convnextv2.models.normalisation import checked_normalisation

    given = [FLAGS[name].value or () for name in ("mean", "std")]
    try:
        return checked_normalisation([list(map(float, words)) for words in given], channels)
    except ValueError as error:
        mean, std = map(",".join, given)
        raise ValueError(
            f"--mean and --std are {channels} number(s) each, one a channel, and those of --std "
            f"are positive. Received: --mean={mean} --std={std}"
        ) from error
