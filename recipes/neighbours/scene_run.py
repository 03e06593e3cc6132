"""The flags of the programs that learn from scenes, and the backbone and scenes they stand for."""

from absl import flags

from .. import image_memory, images, model_flags, pixel_range, saved_models

FLAGS = flags.FLAGS

# From scratch: small enough to learn something in a minute on two cores.
SMALL_MODEL = {"depths": ["1", "1", "2", "1"], "widths": ["24", "48", "96", "192"]}


def define_flags(stem_strides, epochs):
    """Flags named as in the other recipes.

    Args:
        stem_strides: what the library can work with, the default first.
        epochs: int, the default.
    """
    flags.DEFINE_string(
        "weights",
        "",
        "Pretrained weights: a run's folder or .keras file, or those of the official code, timm, "
        "transformers or mmpretrain, as file, folder or hf://owner/name. Empty: from scratch.",
    )
    flags.DEFINE_string(
        "variant", None, "atto to huge. Default: that of --weights, or a small one."
    )
    flags.DEFINE_list("depths", None, "Blocks of the four stages, in place of --variant.")
    flags.DEFINE_list("widths", None, "Channels of the four stages, in place of --variant.")
    choices = ", ".join(map(str, stem_strides))
    flags.DEFINE_integer(
        "stem_stride", None, f"{choices}. Default: that of --weights, or {stem_strides[0]}."
    )
    flags.DEFINE_string("image_size", "96x128", "Size of a scene in pixels, H or HxW.")
    flags.DEFINE_integer("train_scenes", 240, "Scenes to train on.", lower_bound=1)
    flags.DEFINE_integer("test_scenes", 60, "Scenes to measure on.", lower_bound=1)
    flags.DEFINE_integer("batch_size", 8, "Scenes a step.", lower_bound=1)
    flags.DEFINE_integer("epochs", epochs, "Passes over the scenes.", lower_bound=1)
    flags.DEFINE_float("learning_rate", 1e-3, "Of Adam.", lower_bound=0)
    flags.DEFINE_integer("seed", 0, "Of weights, scenes and order.", lower_bound=0)
    flags.DEFINE_bool("json", False, "Print the results as one JSON object.")
    flags.DEFINE_string("data_dir", "", "Folder of train.npz and test.npz. Empty: the embedded.")
    image_memory.define_flags()
    flags.adopt_module_key_flags(image_memory)
    pixel_range.define_flags()
    flags.adopt_module_key_flags(pixel_range)


def make_backbone(stem_strides):
    """The `ConvNeXtV2Backbone` of --weights, or a new one, for scenes of --image_size.

    Args:
        stem_strides: what the library can work with.
    """
    pretrained, size = None, model_flags.image_size_in(FLAGS.image_size)
    defaults, channels = {**SMALL_MODEL, "stem_stride": stem_strides[0]}, 3
    if FLAGS.weights:
        pretrained = saved_models.backbone_of(saved_models.load(FLAGS.weights))
        defaults = saved_models.model_flags(pretrained)
        channels = pretrained.image_shape[-1]
    if FLAGS.variant is None and FLAGS.depths is None and FLAGS.widths is None:
        FLAGS.depths, FLAGS.widths = defaults["depths"], defaults["widths"]
    if (FLAGS.depths is None) != (FLAGS.widths is None) or (FLAGS.variant and FLAGS.depths):
        raise ValueError("Give --variant, or --depths and --widths together, not both.")
    if FLAGS.stem_stride is None:
        FLAGS.stem_stride = defaults["stem_stride"]
    if FLAGS.stem_stride not in stem_strides:
        raise ValueError(
            "The heads of this library need a backbone of --stem_stride="
            f"{' or '.join(map(str, stem_strides))}. Received: {FLAGS.stem_stride}"
        )
    stride = 8 * FLAGS.stem_stride
    if any(side % stride for side in size):
        raise ValueError(
            f"--image_size must be multiples of {stride}, the total stride of a backbone of "
            f"--stem_stride={FLAGS.stem_stride}. Received: {FLAGS.image_size}"
        )
    import keras

    import keras_convnextv2 as kc

    keras.utils.set_random_seed(FLAGS.seed)
    backbone = kc.ConvNeXtV2Backbone(
        model_flags.variant_of(FLAGS), (*size, channels), stem_stride=FLAGS.stem_stride
    )
    if pretrained is not None:
        saved_models.copy_weights(pretrained, backbone)
    return backbone


def make_scenes(backbone):
    """(`Scenes` to train on, `Scenes` to measure on), as `backbone` takes them."""
    from . import scenes

    *size, channels = backbone.image_shape
    return tuple(
        scenes.make_scenes(images.open_images(split), count, size, channels, FLAGS.seed)
        for split, count in (("train", FLAGS.train_scenes), ("test", FLAGS.test_scenes))
    )
