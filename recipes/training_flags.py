"""The flags that recipes share, and what they resolve to."""

import re
import sys

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


def define_data_flags(batch_size):
    flags.DEFINE_string(
        "data_dir",
        "",
        "Folder of images: train/ and test/ (or validation/ or val/) with a folder a class; or "
        "only folders a class; or train.npz and test.npz. Empty: the embedded images.",
    )
    flags.DEFINE_integer("batch_size", batch_size, "Images a step.", lower_bound=1)
    flags.DEFINE_integer("workers", 2, "Threads that read images.", lower_bound=1)


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


def define_training_flags(epochs, base_learning_rate, weight_decay):
    flags.DEFINE_string("output_dir", None, "New folder for what the run leaves.")
    flags.mark_flag_as_required("output_dir")
    flags.DEFINE_integer("epochs", epochs, "Passes over the images.", lower_bound=1)
    flags.DEFINE_float(
        "warmup_epochs",
        None,
        "Epochs of linear warm-up, then cosine. Default: a tenth of --epochs.",
        lower_bound=0,
    )
    flags.DEFINE_float(
        "base_learning_rate", base_learning_rate, "Peak learning rate for 256 images a step."
    )
    flags.DEFINE_float(
        "learning_rate", None, "Peak learning rate as it is, in place of --base_learning_rate."
    )
    flags.DEFINE_float("weight_decay", weight_decay, "AdamW's decay, of kernels only.")
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


def resolve_model_flags(defaults=None):
    """Fills the flags that were not given, from `defaults` or by the data."""
    if defaults is None:
        defaults = FOLDER_MODEL if FLAGS.data_dir else EMBEDDED_MODEL
    if (FLAGS.depths is None) != (FLAGS.widths is None):
        raise ValueError("--depths and --widths go together, four numbers each.")
    if FLAGS.variant and FLAGS.depths:
        raise ValueError("Give --variant, or --depths and --widths, not both.")
    if FLAGS.variant or FLAGS.depths:
        defaults = {k: v for k, v in defaults.items() if k not in ("variant", "depths", "widths")}
    for name, value in defaults.items():
        if FLAGS[name].value is None:
            FLAGS[name].value = value
    height, width = image_size()
    if FLAGS.max_shift is None:
        FLAGS.max_shift = min(height, width) // 16


def resolve_learning_rate():
    """The peak learning rate, from the base rate for 256 images or as given."""
    if FLAGS.learning_rate is None:
        FLAGS.learning_rate = FLAGS.base_learning_rate * FLAGS.batch_size / 256
    if not FLAGS.learning_rate > 0:
        raise ValueError(f"The learning rate must be positive. Received: {FLAGS.learning_rate}")
    return FLAGS.learning_rate


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


def image_size():
    """(height, width) of --image_size."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", FLAGS.image_size)
    if not match or int(match[1]) == 0 or match[2] == "0":
        raise ValueError(f"--image_size is H or HxW in pixels. Received: {FLAGS.image_size!r}")
    return int(match[1]), int(match[2] or match[1])


def chosen_variant():
    """The variant of --variant, or of --depths and --widths."""
    import keras_convnextv2 as kc

    if FLAGS.variant:
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
