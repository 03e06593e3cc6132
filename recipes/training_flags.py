"""The flags that pretrain and finetune share, and what they resolve to."""

from absl import flags

from . import (
    flag_files,
    image_memory,
    model_flags,
    pixel_range,
    processes,
    run_folder,
    run_settings,
)

FLAGS = flags.FLAGS

_TOO_LARGE = 2**63  # numbers that no run has, and some are computed with as floats
_RATES = ("learning_rate", "base_learning_rate")


def define_data_flags(batch_size=None):
    flags.DEFINE_string(
        "data_dir",
        "",
        "Folder of images: train/ and test/ (or validation/) with a folder a class; or only "
        "folders a class, of each of which every fifth image is for testing; or train.npz and "
        "test.npz; or a table of names and labels, .csv or .jsonl. Empty: the embedded images.",
    )
    flags.DEFINE_integer(
        "batch_size",
        batch_size,
        "Images a step. In training a last, smaller batch is left out.",
        lower_bound=1,
    )
    flags.DEFINE_integer("workers", 2, "Threads that read images.", lower_bound=0)
    flags.DEFINE_bool(
        "exact_decoding",
        False,
        "Decode JPEG files whole; by default those much larger than needed are decoded at a half, "
        "a quarter or an eighth.",
    )
    flags.DEFINE_float(
        "evaluation_crop",
        None,
        "Share of a resized picture's side that is seen when images are not trained on: 0.875 in "
        "the paper; 1: all of it, its aspect lost, as there from 384 pixels on. 0: what covers "
        "the size, the longer side cut. Default: 0 in training; where a model is measured, "
        "that of the run that left it, else 0.",
        lower_bound=0,
        upper_bound=1,
    )
    for module in (pixel_range, image_memory):
        module.define_flags()
        flags.adopt_module_key_flags(module)


def define_training_flags():
    flags.DEFINE_string(
        "output_dir",
        None,
        "Folder for what the run leaves: a new one, or that of a run which goes on there.",
    )
    flags.mark_flag_as_required("output_dir")
    flags.DEFINE_integer(
        "save_every",
        0,
        "Steps from one checkpoint within an epoch to the next, beside that at its end; 0: that "
        "alone.",
        lower_bound=0,
    )
    flags.DEFINE_integer(
        "keep_checkpoints", 2, "How many checkpoints are kept, the newest ones.", lower_bound=1
    )
    flags.DEFINE_integer(
        "keep_every",
        0,
        "Epochs: of each so many the checkpoint at its end is kept besides; 0: none.",
        lower_bound=0,
    )
    flags.adopt_module_key_flags(run_folder)
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
        "Peak learning rate for 256 images: the rate used is this times the images of an update, "
        "--batch_size times --accumulation_steps, / 256.",
    )
    flags.DEFINE_float(
        "learning_rate", None, "Peak learning rate as it is, in place of --base_learning_rate."
    )
    flags.DEFINE_float("min_learning_rate", None, "The rate that the cosine ends at. Default: 0.")
    flags.DEFINE_float("weight_decay", 0.05, "AdamW's decay, of kernels only.", lower_bound=0)
    flags.DEFINE_float("beta_2", None, "AdamW's second beta.", lower_bound=0, upper_bound=1)
    flags.DEFINE_float(
        "clip_norm",
        0.0,
        "Gradients of a larger norm are scaled down to it; 0: none.",
        lower_bound=0,
    )
    flags.DEFINE_integer(
        "accumulation_steps", 1, "Steps whose gradients make one update.", lower_bound=1
    )
    flags.DEFINE_integer("seed", 0, "Of weights, order, masks and chosen labels.", lower_bound=0)
    flags.DEFINE_enum(
        "precision",
        "float32",
        ["float32", "bfloat16", "float16"],
        "Of the computation; weights stay float32.",
    )
    flags.DEFINE_list(
        "crop_scale",
        None,
        "LOW,HIGH: training images are random crops of so much of a picture's area, of an aspect "
        "of 3:4 to 4:3, resized. Empty: the centre of each picture.",
    )
    flags.DEFINE_enum(
        "flip",
        None,
        ["none", "horizontal", "both", "turns"],
        "Training images are mirrored at random: left to right; also upside down; or those and "
        "quarter turns, for pictures without an up, as from above.",
    )
    flags.DEFINE_integer(
        "max_shift",
        None,
        "Training images are shifted by up to this many pixels, where --crop_scale is empty. "
        "Default: 1/16 of the smaller side.",
        lower_bound=0,
    )
    flags.DEFINE_bool("check_images", False, "Read every image first, and name those that fail.")
    flags.DEFINE_integer(
        "max_bad_images",
        0,
        "Images that cannot be read are named and passed over, up to so many.",
        lower_bound=0,
    )
    flags.DEFINE_bool(
        "dry_run",
        False,
        "Take one step, save and load, evaluate once; then say what the run would take of time, "
        "memory and disk. Leaves nothing.",
    )
    flags.DEFINE_bool("json", False, "Print the results as one JSON object.")
    processes.define_flags()
    flags.adopt_module_key_flags(processes)


def in_file(name):
    """The values of a settings file of the recipes, by flag; the flags are defined before."""
    return run_settings.from_file(flag_files.SETTINGS / f"{name}.flags")


def describe_defaults(of_embedded, of_folder):
    """Says in the help of each flag what its default is where it depends on the images."""
    for name in dict.fromkeys((*of_embedded, *of_folder, *_RATES)):
        if FLAGS[name].default is not None:
            raise ValueError(f"--{name} has a default of its own, {FLAGS[name].default!r}")
        embedded, folder = (_as_text(of.get(name)) for of in (of_embedded, of_folder))
        default = folder if embedded == folder else f"{folder} with --data_dir, else {embedded}"
        FLAGS[name].help = f"{FLAGS[name].help} Default: {default}."


def _as_text(value):
    if isinstance(value, list):
        return ",".join(value) or "empty"
    return "unset" if value is None else str(value)


def resolve(of_embedded, of_folder, of_model=None):
    """The `Settings` of a training run, with a value for each flag.

    Args:
        of_embedded: values by flag where images are the embedded ones and a flag is not given.
        of_folder: the same for a folder's.
        of_model: the same of the model; None: those that suit the images.

    Raises:
        ValueError: flags that do not go together.
    """
    settings = run_settings.from_flags()
    for name, value in settings.as_dict().items():
        if type(value) is int and abs(value) >= _TOO_LARGE:
            raise ValueError(f"--{name} must be less than 2**63. Received: {str(value)[:20]}...")
    if settings.learning_rate is not None and settings.base_learning_rate is not None:
        raise ValueError("Give --learning_rate or --base_learning_rate, not both.")
    defaults = dict(of_folder if settings.data_dir else of_embedded)
    if any(getattr(settings, name) is not None for name in _RATES):
        defaults = {name: value for name, value in defaults.items() if name not in _RATES}
    settings = model_flags.resolve(settings.filled(defaults), of_model)
    rate = settings.learning_rate
    if rate is None:
        images = settings.batch_size * settings.accumulation_steps
        rate = settings.base_learning_rate * images / 256
    if not rate > 0:
        raise ValueError(f"The learning rate must be positive. Received: {rate}")
    # What --base_learning_rate asks for is said by --learning_rate.
    settings = settings.replaced(learning_rate=rate, base_learning_rate=None)
    settings = settings.filled(
        {"max_shift": min(settings.size) // 16, "min_learning_rate": 0.0}
    ).derived({"warmup_epochs": settings.epochs / 10})
    _check_distribution(settings)
    if settings.warmup_epochs >= settings.epochs:
        raise ValueError(
            "--warmup_epochs must be less than --epochs. Received: "
            f"{settings.warmup_epochs:g} of {settings.epochs}"
        )
    if settings.min_learning_rate >= rate:
        raise ValueError(
            "--min_learning_rate must be less than the peak. Received: "
            f"{settings.min_learning_rate:g} of {rate:g}"
        )
    return settings


def _check_distribution(settings):
    """Raises ValueError for what several devices cannot have."""
    count = processes.num_devices()
    if settings.batch_size % count:
        raise ValueError(
            f"--batch_size counts for all {count} devices, and must be a multiple of {count}. "
            f"Received: {settings.batch_size}"
        )
    if settings.distribution != "none" and settings.dry_run:
        raise ValueError("--dry_run is of one device: leave --distribution out.")


def num_updates(settings, steps_per_epoch, epochs, warmup_epochs):
    """(all updates, those of the warm-up) of a training.

    Raises:
        ValueError: it ends before the first update.
    """
    steps = epochs * steps_per_epoch
    if steps < settings.accumulation_steps:
        raise ValueError(
            f"--accumulation_steps={settings.accumulation_steps} is more than the {steps} steps of "
            f"{epochs} epoch(s): nothing would be learned. Give fewer, or more epochs."
        )
    updates_per_epoch = steps_per_epoch / settings.accumulation_steps
    return int(epochs * updates_per_epoch), int(warmup_epochs * updates_per_epoch)


def crop_scale(settings):
    """(low, high) of --crop_scale, None where it is empty."""
    words = settings.crop_scale
    if not words:
        return None
    try:
        low, high = map(float, words)
        if not 0 < low <= high <= 1:
            raise ValueError("out of range")
    except ValueError as error:
        raise ValueError(
            "--crop_scale is two shares of a picture's area, such as 0.2,1. Received: "
            f"{','.join(map(str, words))!r}"
        ) from error
    return low, high


def dtype_policy(settings):
    return settings.precision if settings.precision == "float32" else f"mixed_{settings.precision}"
