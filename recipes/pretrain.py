r"""Pretrains a ConvNeXt V2 backbone on images without labels, with FCMAE (arXiv 2301.00808).

On the embedded images, with a small model:
    python -m recipes.pretrain --output_dir=runs/pretrained

On a folder of your own, with the rate, warm-up and epochs of the paper (not its batch and crops):
    python -m recipes.pretrain --output_dir=runs/pretrained --data_dir=photographs --variant=atto \
        --image_size=224 --batch_size=64 --epochs=800 --warmup_epochs=40 --base_learning_rate=1.5e-4

Leaves in the output folder: settings.flags, metrics.jsonl, checkpoints/last.keras (the whole
FCMAE), model.keras (the backbone, for recipes.finetune) and reconstructions.png.
"""

from absl import flags

from . import images, program, training_flags, training_run

FLAGS = flags.FLAGS

flags.DEFINE_float("mask_ratio", 0.6, "Share of each image's patches that is hidden.")
flags.DEFINE_integer("decoder_width", None, "Channels of the decoder.")
flags.DEFINE_integer("decoder_depth", 1, "Blocks of the decoder.", lower_bound=1)
flags.DEFINE_bool("normalize_targets", True, "Predict patches less their mean, over their std.")
flags.DEFINE_enum(
    "encoder_path",
    "visible",
    ["visible", "dense"],
    "Compute the visible patches alone, or the whole map with hidden positions at zero.",
)
training_flags.define_data_flags()
training_flags.define_model_flags()
training_flags.define_training_flags()
flags.adopt_module_key_flags(training_flags)


# For the embedded images: 12 epochs * 312 steps = 3,744 steps, far fewer than the paper's
# 800 epochs * 312 steps of 4,096 images, hence the higher rate. For a folder: the paper's table 8,
# but for the batch, the epochs, the warm-up (a tenth) and the random resized crop.
EMBEDDED_RUN = {"batch_size": 32, "epochs": 12, "learning_rate": 1.5e-3, "decoder_width": 128}
FOLDER_RUN = {"batch_size": 64, "epochs": 100, "base_learning_rate": 1.5e-4, "decoder_width": 512}


def main():
    training_flags.resolve((EMBEDDED_RUN, FOLDER_RUN))
    size = training_flags.image_size()
    variant = training_flags.chosen_variant()
    if not FLAGS.dry_run:
        training_run.check_output_dir()
    source = images.open_images("train")
    batches = images.training_batches(source, size, labelled=False)

    import keras

    import keras_convnextv2 as kc
    from keras_convnextv2.analysis.reconstructions import save_reconstructions
    from keras_convnextv2.training.checkpoints import save_model
    from keras_convnextv2.training.optimizers import adamw
    from keras_convnextv2.training.schedules import warmup_cosine

    keras.utils.set_random_seed(FLAGS.seed)
    backbone = kc.ConvNeXtV2Backbone(
        variant,
        image_shape=(*size, source.channels),
        stem_stride=FLAGS.stem_stride,
        seed=FLAGS.seed,
        dtype=training_flags.dtype_policy(),
    )
    backbone.normalisation = source.mean, source.std
    backbone.pixel_range = source.pixel_range and source.pixel_range.values
    fcmae = kc.FCMAE(
        backbone,
        mask_ratio=FLAGS.mask_ratio,
        decoder_width=FLAGS.decoder_width,
        decoder_depth=FLAGS.decoder_depth,
        normalize_targets=FLAGS.normalize_targets,
        encoder_path=FLAGS.encoder_path,
        seed=FLAGS.seed,
    )

    num_steps, num_warmup_steps = training_flags.resolve_steps(len(batches))
    schedule = warmup_cosine(FLAGS.learning_rate, num_steps, num_warmup_steps)
    fcmae.compile(optimizer=adamw(fcmae, schedule, FLAGS.weight_decay, beta_2=0.95))

    training_run.announce(
        backend=keras.backend.backend(),
        images=training_run.taken(source, size),
        model=f"{backbone.count_params():,} parameters in the backbone, "
        f"{fcmae.decoder.count_params():,} in the decoder",
        masks=f"{fcmae.num_visible} of {fcmae.grid[0] * fcmae.grid[1]} patches visible, each of "
        f"{fcmae.patch_size} x {fcmae.patch_size} pixels",
        training=training_run.length(batches, num_warmup_steps),
    )
    if FLAGS.dry_run:
        return
    folder = training_run.open_output_dir()
    logs = training_run.train(fcmae, batches, folder, "pretraining")
    save_model(backbone, folder / "model.keras")

    shown, first = _some_images(size)
    save_reconstructions(folder / "reconstructions.png", fcmae, first, shown.mean, shown.std)
    result = {
        **{name: float(value) for name, value in logs.items()},
        "model": str(folder / "model.keras"),
        "pictures": str(folder / "reconstructions.png"),
        "log": str(folder / "metrics.jsonl"),
    }
    program.print_result(result, FLAGS.json)


def _some_images(size, count=8):
    """Images spread over the test split, or over the training one where there is no other."""
    from keras_convnextv2.data import ImageSourceError, preprocess
    from keras_convnextv2.data.image_source import spread

    try:
        source = images.open_images("test")
    except ImageSourceError:
        source = images.open_images("train")
    pixels = source.read(spread(len(source), count), size)
    return source, preprocess(pixels, source.mean, source.std)


if __name__ == "__main__":
    program.run(main)
