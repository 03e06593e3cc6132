"""Which model: the flags, and what they resolve to."""

import re

from absl import flags

FLAGS = flags.FLAGS

# The embedded images are 32x32: with stem_stride=1 a patch is 8x8, and there are 16 of them.
EMBEDDED_MODEL = {
    "depths": ["1", "1", "2", "1"],
    "widths": ["24", "48", "96", "192"],
    "image_size": "32",
    "stem_stride": 1,
}
FOLDER_MODEL = {"variant": "atto", "image_size": "224", "stem_stride": 4}
_SIZES = ("variant", "depths", "widths")


def define_flags():
    define_size_flags()
    define_block_flags()


def define_size_flags():
    flags.DEFINE_string(
        "variant",
        None,
        "atto, femto, pico, nano, tiny, small, base, large or huge. Default: that of --weights "
        "where there are some, else atto with --data_dir and a demo size on the embedded images.",
    )
    flags.DEFINE_list(
        "depths", None, "Blocks of the four stages, in place of --variant. Default: the variant's."
    )
    flags.DEFINE_list(
        "widths", None, "Channels of the four stages, in place of --variant. Default: the same."
    )
    define_image_size(
        "Size of the images in pixels, H or HxW. Default: that of --weights where they have one, "
        "else 224 with --data_dir, or 32."
    )
    flags.DEFINE_integer(
        "stem_stride",
        None,
        "4 as in the paper; 2 or 1 for small images. A patch has 8 times as many pixels a side. "
        "Default: 4 with --data_dir, else 1.",
    )


def define_block_flags():
    flags.DEFINE_string(
        "response",
        None,
        "What stands after GELU in a block: grn, none, lrn, bn, ln, se, cbam, or a variant of GRN "
        "such as grn_l1. Default: grn, the paper's.",
    )
    flags.DEFINE_float(
        "layer_scale",
        None,
        "Where a learned scale of each channel at the end of a block begins: ConvNeXt V1 is "
        "--response=none --layer_scale=1e-6. Default: there is none.",
    )


def define_image_size(description):
    flags.DEFINE_string("image_size", None, description)


def resolve(settings, of_model=None):
    """`Settings` whose flags of the model have a value, and `size`, (height, width).

    Args:
        settings: `Settings`.
        of_model: values by flag where one is not given; None: those that suit the images.
    """
    if (settings.depths is None) != (settings.widths is None):
        raise ValueError("--depths and --widths go together, four numbers each.")
    if settings.variant and settings.depths:
        raise ValueError("Give --variant, or --depths and --widths, not both.")
    defaults = of_model or (FOLDER_MODEL if settings.data_dir else EMBEDDED_MODEL)
    defaults = {"image_size": default_image_size(settings), **defaults}
    if settings.variant or settings.depths:
        defaults = {name: value for name, value in defaults.items() if name not in _SIZES}
    settings = settings.filled(defaults)
    return settings.replaced(size=image_size_in(settings.image_size))


def refuse_beside_weights(of_model):
    """Raises ValueError for a flag that asks for another model than that of --weights.

    Args:
        of_model: values by flag, as `saved_models.model_flags` gives them.
    """
    from keras_convnextv2.models.variants import resolve_variant

    found = {"response": "grn", **of_model}
    if FLAGS.variant is not None:
        of_variant = resolve_variant(FLAGS.variant)
        sizes = [[str(number) for number in of_variant.depths]]
        sizes += [[str(number) for number in of_variant.widths]]
        if sizes == [found["depths"], found["widths"]]:
            found["variant"] = FLAGS.variant
    for name in (*_SIZES, "stem_stride", "response", "layer_scale"):
        if FLAGS[name].value not in (None, found.get(name)):
            raise ValueError(
                f"--{name} is not that of --weights. It is of random weights: leave it out."
            )


def default_image_size(settings):
    """The --image_size that suits the images, of weights that take any."""
    return (FOLDER_MODEL if settings.data_dir else EMBEDDED_MODEL)["image_size"]


def image_size_in(text):
    """(height, width) of what --image_size says."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not match or int(match[1]) == 0 or match[2] == "0":
        raise ValueError(f"--image_size is H or HxW in pixels. Received: {text!r}")
    return int(match[1]), int(match[2] or match[1])


def given_image_size():
    """(height, width) of --image_size, None where it is not given."""
    return None if FLAGS.image_size is None else image_size_in(FLAGS.image_size)


def variant_of(settings):
    """The variant of --variant, or of --depths and --widths, with the blocks that flags ask for."""
    import dataclasses

    import keras_convnextv2 as kc
    from keras_convnextv2.layers import responses
    from keras_convnextv2.models.variants import resolve_variant

    block = {
        name: getattr(settings, name)
        for name in ("response", "layer_scale")
        if name in settings and getattr(settings, name) is not None
    }
    if "response" in block and block["response"] not in responses.names():
        raise ValueError(
            f"--response is one of {responses.described()}. Received: {block['response']!r}"
        )
    variant = _size_of(settings)
    if not block:
        return variant
    return dataclasses.replace(resolve_variant(variant), block=kc.BlockSpec(**block))


def _size_of(settings):
    import keras_convnextv2 as kc
    from keras_convnextv2.models.variants import resolve_variant

    if settings.variant:
        resolve_variant(settings.variant)  # or a typo would be found only after the images
        return settings.variant
    numbers = {}
    for name in ("depths", "widths"):
        words = getattr(settings, name)
        if words is None:  # --variant= with nothing behind it
            raise ValueError("Give --variant, or --depths and --widths. Received: --variant=''")
        try:
            numbers[name] = tuple(int(number) for number in words)
        except ValueError:
            raise ValueError(
                f"--{name} is four whole numbers. Received: {','.join(words)!r}"
            ) from None
    return kc.Variant(**numbers)


def random_backbone(settings, source):
    """A backbone by the flags of the model, with the weights of a run before its first step.

    Args:
        settings: `Settings` that `resolve` gave; their `seed` is that of the weights.
        source: `ImageSource` of the images that it is to take.
    """
    import keras

    import keras_convnextv2 as kc

    keras.utils.set_random_seed(settings.seed)
    backbone = kc.ConvNeXtV2Backbone(
        variant_of(settings),
        image_shape=(*settings.size, source.channels),
        stem_stride=settings.stem_stride,
        seed=settings.seed,
    )
    backbone.normalisation = source.mean, source.std
    return backbone
