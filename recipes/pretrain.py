r"""Pretrains a ConvNeXt V2 backbone on images without labels, with FCMAE (arXiv 2301.00808).

With --objective=latent it predicts features in place of pixels (CNN-JEPA, arXiv 2408.07514).

On the embedded images, with a small model:
    python -m recipes.pretrain --output_dir=runs/pretrained

On a folder of your own, with the rate and the crops of the paper:
    python -m recipes.pretrain --output_dir=runs/pretrained --data_dir=photographs --variant=atto

As the paper does it on ImageNet, of recipes/settings; flags after it count instead of its own:
    python -m recipes.pretrain --output_dir=runs/base --data_dir=imagenet --flagfile=pretrain \
        --batch_size=64 --accumulation_steps=64

With labelled images beside it, --probe_dir, it is measured after each epoch how well the features
tell those apart; with --measure_every, on images without labels, whether they collapse.

Leaves in the output folder: model (the backbone, for recipes.finetune), settings.flags and
run.json, metrics.jsonl, curves.png, board (for TensorBoard), checkpoints (of the whole FCMAE),
result.json and, of FCMAE, reconstructions (a picture each --reconstruct_every epochs) and
reconstructions.png and .gif. recipes.report makes a page of it. Stopped, it goes on when the same
command is started again.
"""

import math

from absl import flags

from . import (
    augmentation_flags,
    images,
    model_flags,
    objectives,
    pixel_range,
    processes,
    program,
    run_folder,
    training_flags,
    training_run,
)

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "probe_dir", "", "Folder of labelled images, train and test, to measure features with."
)
flags.DEFINE_integer("probe_every", 1, "Epochs from one measurement to the next.", lower_bound=1)
flags.DEFINE_integer(
    "probe_images", 2000, "Images of each split that are measured with at most.", lower_bound=1
)
flags.DEFINE_integer(
    "measure_every",
    0,
    "Epochs from one measurement of the features' diversity to the next, on the same images each "
    "time, of the test split or else of the training images. 0: none.",
    lower_bound=0,
)
flags.DEFINE_integer("measure_images", 512, "Images that are measured with at most.", lower_bound=2)
flags.DEFINE_integer(
    "reconstruct_every",
    None,
    "Epochs from one picture of reconstructions of the same images to the next, with "
    "--objective=fcmae. 0: none. Default: 20 pictures over the run.",
    lower_bound=0,
)
objectives.define_flags()
training_flags.define_data_flags()
model_flags.define_flags()
training_flags.define_training_flags()
for module in (objectives, training_flags, model_flags):
    flags.adopt_module_key_flags(module)


# For the embedded images: 12 epochs * 312 steps = 3,744 steps, far fewer than the paper's
# 800 epochs * 312 steps of 4,096 images, hence the higher rate. For a folder: the paper's table 8,
# but for the batch, the epochs and the warm-up (a tenth).
EMBEDDED_RUN = {
    "batch_size": 32,
    "epochs": 12,
    "learning_rate": 1.5e-3,
    "decoder_width": 128,
    "beta_2": 0.95,
    "crop_scale": [],
    "flip": "horizontal",
}
FOLDER_RUN = {
    "batch_size": 64,
    "epochs": 100,
    "base_learning_rate": 1.5e-4,
    "decoder_width": 512,
    "beta_2": 0.95,
    "crop_scale": ["0.2", "1"],
    "flip": "horizontal",
}
training_flags.describe_defaults(EMBEDDED_RUN, FOLDER_RUN)

PICTURES = "reconstructions"  # of epochs, a folder of the run
_NUM_PICTURES = 20  # over the run, by default
_IN_THE_PROGRESS = {"probe_ridge", "probe_knn", "measure_rankme"}  # of what is measured


def main():
    settings = objectives.resolve(EMBEDDED_RUN, FOLDER_RUN)
    draws = settings.objective == "fcmae"  # there are pictures of pixels alone
    every = math.ceil(settings.epochs / _NUM_PICTURES) if draws else 0
    settings = settings.derived({"reconstruct_every": every})
    if settings.reconstruct_every and not draws:
        raise ValueError("--reconstruct_every is of --objective=fcmae. Received: latent")
    if settings.measure_every and processes.num_devices() > processes.shard()[1]:
        raise ValueError(
            "--measure_every is of one device a process: leave it or --distribution out."
        )
    variant = model_flags.variant_of(settings)
    if not settings.dry_run:
        run_folder.check(settings)
    source = images.open_training_images(settings)
    settings = pixel_range.kept(settings, source)
    augmentation = augmentation_flags.augmentation(settings, source.channels)
    batches = images.training_batches(source, settings, augmentation, labelled=False)

    import keras

    import keras_convnextv2 as kc
    from keras_convnextv2.analysis.reconstructions import (
        draw_reconstructions,
        save_reconstructions,
    )
    from keras_convnextv2.training.optimizers import adamw
    from keras_convnextv2.training.schedules import warmup_cosine

    from . import projection

    keras.utils.set_random_seed(settings.seed)
    backbone = kc.ConvNeXtV2Backbone(
        variant,
        image_shape=(*settings.size, source.channels),
        stem_stride=settings.stem_stride,
        seed=settings.seed,
        dtype=training_flags.dtype_policy(settings),
    )
    backbone.normalisation = source.mean, source.std
    backbone.pixel_range = source.pixel_range and source.pixel_range.values
    num_updates, num_warmup = training_flags.num_updates(
        settings, len(batches), settings.epochs, settings.warmup_epochs
    )
    model = objectives.make_model(backbone, settings, num_updates)
    model.compile(
        optimizer=adamw(
            model,
            warmup_cosine(
                settings.learning_rate, num_updates, num_warmup, settings.min_learning_rate
            ),
            settings.weight_decay,
            settings.beta_2,
            clip_norm=settings.clip_norm or None,
            accumulation_steps=settings.accumulation_steps,
        )
    )

    training_run.announce(
        settings,
        backend=keras.backend.backend(),
        images=training_run.taken(source, settings.size),
        **objectives.in_words(model),
        training=training_run.length(settings, batches),
    )
    if settings.dry_run:
        num_checkpoints = projection.num_checkpoints(settings, settings.epochs)
        result = projection.project(
            model, batches, settings.epochs, num_checkpoints=num_checkpoints
        )
        program.print_result(result, settings.json)
        return

    def train_and_draw(folder):
        shown = images.some_images(settings, source) if draws else None

        def draw():
            return draw_reconstructions(model, shown.images, shown.mean, shown.std)

        watchers = _watchers(model, settings, source, folder)
        logs = training_run.train(
            model,
            batches,
            folder,
            "pretraining",
            settings,
            watchers=watchers,
            writers=_writing(settings, folder, draw),
            hidden={name for watch in watchers for name in watch.before} - _IN_THE_PROGRESS,
            pictures=draw if draws else None,
        )
        if not processes.is_writer():
            return {}
        kc.save_weights(backbone, folder / "model")
        left = {"model": folder / "model", "log": folder / "metrics.jsonl"}
        if draws:
            left["pictures"] = folder / "reconstructions.png"
            save_reconstructions(left["pictures"], model, shown.images, shown.mean, shown.std)
            left |= _animated(folder)
        return {
            **{name: float(value) for name, value in logs.items()},
            **{name: str(path) for name, path in left.items()},
        }

    program.print_result(run_folder.result(settings, train_and_draw), settings.json)


def _writing(settings, folder, draw):
    """The callback that keeps pictures of epochs, in a list; none where they are not asked for."""
    from keras_convnextv2.analysis import WriteReconstructions

    if not settings.reconstruct_every:
        return []
    return [WriteReconstructions(folder / PICTURES, draw, settings.reconstruct_every)]


def _animated(folder):
    """Writes reconstructions.gif of the pictures of epochs; {"animation": path} where there are."""
    import PIL.Image

    from keras_convnextv2.analysis.reconstruction_frames import (
        frames_in,
        save_reconstruction_animation,
    )
    from keras_convnextv2.whole_files import whole_file

    frames = {epoch: PIL.Image.open(path) for epoch, path in frames_in(folder / PICTURES).items()}
    if not frames:
        return {}
    path = folder / f"{PICTURES}.gif"
    with whole_file(path) as unfinished:
        save_reconstruction_animation(unfinished, frames)
    return {"animation": path}


def _watchers(model, settings, source, folder):
    """What measures features after epochs; here they are before the first step."""
    watchers = []
    if settings.probe_dir:
        from keras_convnextv2.analysis.watch_probes import WatchProbes

        train, test = (
            images.probe_batches(settings, split, model.backbone) for split in ("train", "test")
        )
        watchers.append(WatchProbes(model, train, test, settings.probe_every))
    if settings.measure_every:
        from keras_convnextv2.analysis.watch_collapse import WatchCollapse

        batches = images.measured_batches(settings, source)
        watchers.append(WatchCollapse(model, batches, settings.measure_every))
    begun = run_folder.is_begun(folder)
    before = run_folder.logged_before(folder) if begun else {}
    for watch in watchers:
        if not begun:
            before |= watch.measure()
        watch.before = before
    if watchers and not begun and processes.is_writer():
        _say_before(before)
        run_folder.log_before(folder, before)
    return watchers


def _say_before(figures):
    if "probe_ridge" in figures:
        ridge, knn = (figures[f"probe_{name}"] for name in ("ridge", "knn"))
        training_run.say(probes_before=f"ridge {ridge:.1%}, kNN {knn:.1%}")
    if "measure_rankme" in figures:
        training_run.say(rankme_before=f"{figures['measure_rankme']:.1f}")


if __name__ == "__main__":
    program.run(main)
