"""The flags that recipes share, and what they resolve to."""

import re
import sys

from absl import flags

from recipes import image_memory, pixel_range

FLAGS = flags.FLAGS

# The embedded images are 32x32: with stem_stride=1 a patch is 8x8, and there are 16 of them.
EMBEDDED_MODEL = {
    "depths": ["1", "1", "2", "1"],
    "widths": ["24", "48", "96", "192"],
    "image_size": "32",
    "stem_stride": 1,
}
FOLDER_MODEL = {"variant": "atto", "image_size": "224", "stem_stride": 4}
_SIZE_FLAGS = ("variant", "depths", "widths")
_RATE_FLAGS = ("learning_rate", "base_learning_rate")


def define_data_flags(batch_size=None):
    flags.DEFINE_string(
        "data_dir",
        "",
        "Folder of images: train/ and test/ (or validation/) with a folder a class; or "
        "only folders a class, of each of which every fifth image is for testing; or train.npz and "
        "test.npz. Empty: the embedded images.",
    )
    flags.DEFINE_integer(
        "batch_size",
        batch_size,
        "Images a step. In training a last, smaller batch is left out.",
        lower_bound=1,
    )
    flags.DEFINE_integer("workers", 2, "Threads that read images.", lower_bound=1)
    pixel_range.define_flags()
    flags.adopt_module_key_flags(pixel_range)
    image_memory.define_flags()
    flags.adopt_module_key_flags(image_memory)


def define_model_flags():
    flags.DEFINE_string(
        "variant",
        None,
        "atto, femto, pico, nano, tiny, small, base, large or huge. Default: that of --weights "
        "where there are some, else atto with --data_dir and a demo size on the embedded images.",
    )
    flags.DEFINE_list("depths", None, "Blocks of the four stages, in place of --variant.")
    flags.DEFINE_list("widths", None, "Channels of the four stages, in place of --variant.")
    flags.DEFINE_string(
        "image_size",
        None,
        "Size of the images in pixels, H or HxW. Default: 224 with --data_dir, else 32.",
    )
    flags.DEFINE_integer(
        "stem_stride",
        None,
        "4 as in the paper; 2 or 1 for small images. A patch has 8 times as many pixels a side. "
        "Default: 4 with --data_dir, else 1.",
    )


def define_training_flags():
    flags.DEFINE_string("output_dir", None, "New folder for what the run leaves.")
    flags.mark_flag_as_required("output_dir")
    flags.DEFINE_integer("epochs", None, "Passes over the images.", lower_bound=1)
    flags.DEFINE_float(
        "warmup_epochs",
        None,
        "Epochs of linear warm-up, then cosine. Default: a tenth of --epochs.",
        lower_bound=0,
    )
    flags.DEFINE_float(
        "base_learning_rate",
        None,
        "Peak learning rate for 256 images a step: the rate used is this times --batch_size / 256.",
    )
    flags.DEFINE_float(
        "learning_rate", None, "Peak learning rate as it is, in place of --base_learning_rate."
    )
    flags.DEFINE_float("weight_decay", 0.05, "AdamW's decay, of kernels only.")
    flags.DEFINE_integer("seed", 0, "Of weights, order, masks and chosen labels.", lower_bound=0)
    flags.DEFINE_enum(
        "precision",
        "float32",
        ["float32", "bfloat16", "float16"],
        "Of the computation; weights stay float32.",
    )
    flags.DEFINE_integer(
        "max_shift",
        None,
        "Training images are flipped left to right at random and shifted by up to this many "
        "pixels; -1 leaves them as they are. Default: 1/16 of the smaller side.",
    )
    flags.DEFINE_bool("dry_run", False, "Print what would be run and write nothing.")
    flags.DEFINE_bool("json", False, "Print the results as one JSON object.")


def resolve(run_defaults, model_defaults=None):
    """Fills the flags that were not given.

    Args:
        run_defaults: (values by flag for the embedded images, the same for a folder's).
        model_defaults: values by flag of the model; None takes those that suit the data.
    """
    if (FLAGS.depths is None) != (FLAGS.widths is None):
        raise ValueError("--depths and --widths go together, four numbers each.")
    if FLAGS.variant and FLAGS.depths:
        raise ValueError("Give --variant, or --depths and --widths, not both.")
    if FLAGS.learning_rate is not None and FLAGS.base_learning_rate is not None:
        raise ValueError("Give --learning_rate or --base_learning_rate, not both.")
    if model_defaults is None:
        model_defaults = FOLDER_MODEL if FLAGS.data_dir else EMBEDDED_MODEL
    model_defaults = {"image_size": default_image_size(), **model_defaults}
    settled = set()  # by flags that were given
    if FLAGS.variant or FLAGS.depths:
        settled.update(_SIZE_FLAGS)
    if FLAGS.learning_rate is not None or FLAGS.base_learning_rate is not None:
        settled.update(_RATE_FLAGS)
    for name, value in {**model_defaults, **run_defaults[bool(FLAGS.data_dir)]}.items():
        if FLAGS[name].value is None and name not in settled:
            FLAGS[name].value = value
    if FLAGS.learning_rate is None:
        FLAGS.learning_rate = FLAGS.base_learning_rate * FLAGS.batch_size / 256
        FLAGS["base_learning_rate"].value = None  # said by --learning_rate in settings.flags
    if not FLAGS.learning_rate > 0:
        raise ValueError(f"The learning rate must be positive. Received: {FLAGS.learning_rate}")
    if FLAGS.max_shift is None:
        FLAGS.max_shift = min(image_size()) // 16


def resolve_steps(steps_per_epoch):
    """(all steps, warm-up steps) of --epochs and --warmup_epochs."""
    if FLAGS.warmup_epochs is None:
        FLAGS.warmup_epochs = FLAGS.epochs / 10
    if FLAGS.warmup_epochs >= FLAGS.epochs:
        raise ValueError(
            "--warmup_epochs must be less than --epochs. Received: "
            f"{FLAGS.warmup_epochs:g} of {FLAGS.epochs}"
        )
    return FLAGS.epochs * steps_per_epoch, int(FLAGS.warmup_epochs * steps_per_epoch)


def default_image_size():
    """The --image_size that suits the images, of weights that take any."""
    return (FOLDER_MODEL if FLAGS.data_dir else EMBEDDED_MODEL)["image_size"]


def image_size():
    """(height, width) of --image_size."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", FLAGS.image_size)
    if not match or int(match[1]) == 0 or match[2] == "0":
        raise ValueError(f"--image_size is H or HxW in pixels. Received: {FLAGS.image_size!r}")
    return int(match[1]), int(match[2] or match[1])


def chosen_variant():
    """The variant of --variant, or of --depths and --widths."""
    import keras_convnextv2 as kc
    from keras_convnextv2.models.variants import resolve_variant

    if FLAGS.variant:
        resolve_variant(FLAGS.variant)  # or a typo would be found only after the images
        return FLAGS.variant
    numbers = {}
    for name in ("depths", "widths"):
        try:
            numbers[name] = tuple(int(number) for number in FLAGS[name].value)
        except ValueError:
            given = ",".join(FLAGS[name].value)
            raise ValueError(f"--{name} is four whole numbers. Received: {given!r}") from None
    return kc.Variant(**numbers)


def dtype_policy():
    return FLAGS.precision if FLAGS.precision == "float32" else f"mixed_{FLAGS.precision}"


def resolved_flags():
    """Every flag of this program and its value, as lines that --flagfile reads."""
    lines = []
    for module, module_flags in sorted(FLAGS.flags_by_module_dict().items()):
        # Of a recipe, not of a library; absl names the main module by its path.
        if module.startswith("recipes.") or module == sys.argv[0]:
            lines += [flag.serialize() for flag in module_flags if flag.value is not None]
    return "\n".join(line for line in lines if line) + "\n"
