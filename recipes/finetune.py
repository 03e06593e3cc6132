r"""Trains a classifier, from pretrained weights or from scratch.

On 10 labels a class of the embedded images, from what recipes.pretrain left, and from scratch:
    python -m recipes.finetune --output_dir=runs/finetuned --weights=runs/pretrained \
        --labels_per_class=10
    python -m recipes.finetune --output_dir=runs/scratch --labels_per_class=10

On a folder of your own with a folder a class, from Meta's weights, with the extra `hub` installed:
    python -m recipes.finetune --output_dir=runs/finetuned --data_dir=photographs \
        --weights=hf://timm/convnextv2_atto.fcmae

As the paper does it on ImageNet, one of recipes/settings; flags after it count instead of its own:
    python -m recipes.finetune --output_dir=runs/atto --data_dir=imagenet \
        --weights=runs/pretrained --flagfile=finetune_1k_atto --batch_size=256 \
        --accumulation_steps=4

Images are parted in three: those trained on, those for validation, by which the temperature is
chosen and, with --monitor or --early_stopping_epochs, the best epoch, and those for testing, which
are read once, at the end.

Leaves in the output folder: model (the classifier, with the names of its classes and its
temperature), settings.flags and run.json, metrics.jsonl, curves.png, board (for TensorBoard),
checkpoints, result.json, and test (tables and pictures of the test images). Stopped, it goes on
when the same command is started again.
"""

from absl import flags

from . import (
    augmentation_flags,
    doubtful_settings,
    evaluation_report,
    images,
    model_flags,
    other_blocks,
    pixel_range,
    processes,
    program,
    run_folder,
    saved_models,
    training_flags,
    training_run,
)

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "weights",
    "",
    "Pretrained weights: a run's folder or a .keras file, or those of the official code, timm, "
    "transformers or mmpretrain, as file, folder or hf://owner/name. Empty: from scratch.",
)
flags.DEFINE_integer("labels_per_class", 0, "Train on this many images a class; 0: on all.")
flags.DEFINE_float("drop_path_rate", 0.0, "Stochastic depth of the last block.")
flags.DEFINE_float("head_init_scale", 0.001, "Factor on the first weights of the linear layer.")
flags.DEFINE_float(
    "layer_decay",
    None,
    "Layer-wise decay: each layer learns at this times the rate of the one above it; 1: all alike.",
    lower_bound=0,
    upper_bound=1,
)
flags.DEFINE_enum(
    "layer_decay_groups",
    "single",
    ["single", "group"],
    "A layer there is a block, or one of the paper's 12 groups of blocks.",
)
flags.DEFINE_float(
    "ema_momentum",
    None,
    "Share of the average of the weights that an update keeps; the average is evaluated and saved. "
    "0: none.",
    lower_bound=0,
    upper_bound=1,
)
flags.DEFINE_enum(
    "trainable",
    "all",
    ["head", "last_stage", "all"],
    "What learns: the linear layer and its norm; also the last stage; or everything.",
)
flags.DEFINE_integer(
    "freeze_epochs", 0, "Epochs before those, in which the head alone learns.", lower_bound=0
)
flags.DEFINE_string(
    "class_weights",
    "none",
    "How much an image counts by its class: none (all alike), balanced (classes with fewer images "
    "more), or NAME=NUMBER with commas between.",
)
flags.DEFINE_enum(
    "sampling",
    "uniform",
    ["uniform", "balanced"],
    "Each image once an epoch, or each class equally often.",
)
flags.DEFINE_float(
    "validation_fraction",
    None,
    "Share of the training images of each class that is kept for validation, where there is no "
    "folder validation beside train and test; 0: none.",
    lower_bound=0,
    upper_bound=0.9,
)
flags.DEFINE_enum(
    "monitor",
    None,
    [
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "micro_f1",
        "mean_average_precision",
        "negative_log_likelihood",
    ],
    "Keep the epoch that is best by this figure on the validation images. Default: keep the last "
    "epoch; with --early_stopping_epochs accuracy, or mean_average_precision where an image may "
    "have several labels.",
)
flags.DEFINE_integer(
    "early_stopping_epochs",
    0,
    "Stop after so many epochs that were not better than the best; 0: train all epochs.",
    lower_bound=0,
)
flags.DEFINE_bool("tta", False, "Test with each image and its mirror image.")
training_flags.define_data_flags()
model_flags.define_flags()
training_flags.define_training_flags()
augmentation_flags.define_flags()
for module in (training_flags, model_flags, other_blocks, augmentation_flags):
    flags.adopt_module_key_flags(module)


# For the embedded images: with 10 labels a class, 60 epochs * 5 steps = 300 steps.
EMBEDDED_RUN = {
    "batch_size": 20,
    "epochs": 60,
    "learning_rate": 1e-3,
    "beta_2": 0.999,
    "crop_scale": [],
    "flip": "horizontal",
    "layer_decay": 1.0,
    "ema_momentum": 0.0,
    "label_smoothing": 0.0,
    "validation_fraction": 0.0,
}
# For a folder: what was measured on folders of photographs.
FOLDER_RUN = {**EMBEDDED_RUN, "validation_fraction": 0.1, **training_flags.in_file("small_data")}
training_flags.describe_defaults(EMBEDDED_RUN, FOLDER_RUN)


def main():
    pretrained, of_model, trained_with = None, None, None
    if FLAGS.weights:
        pretrained = saved_models.backbone_of(saved_models.load(FLAGS.weights))
        of_model = saved_models.model_flags(pretrained)
        trained_with = pixel_range.of_training(pretrained.pixel_range, FLAGS.weights)
    settings = training_flags.resolve(EMBEDDED_RUN, FOLDER_RUN, of_model)
    doubtful_settings.refuse_random_features(settings)
    variant = model_flags.variant_of(settings)
    if not settings.dry_run:
        run_folder.check(settings)
    train, validated, test = images.open_splits(settings, trained_with)
    settings = pixel_range.kept(settings, train)
    augmentation = augmentation_flags.augmentation(settings, train.channels)
    batches = images.training_batches(train, settings, augmentation)
    validation_batches = validated and images.evaluation_batches(validated, settings)
    test_batches = images.evaluation_batches(test, settings)
    class_weight = training_run.class_weights(settings, train)

    import keras

    import keras_convnextv2 as kc
    from keras_convnextv2.training.classification_loss import classification_loss
    from keras_convnextv2.training.optimizers import adamw
    from keras_convnextv2.training.schedules import warmup_cosine

    from . import projection
    from .validation import Validation

    chooser = Validation(validation_batches, settings)
    keras.utils.set_random_seed(settings.seed)
    backbone = kc.ConvNeXtV2Backbone(
        variant,
        image_shape=(*settings.size, train.channels),
        stem_stride=settings.stem_stride,
        drop_path_rate=settings.drop_path_rate,
        seed=settings.seed,
        dtype=training_flags.dtype_policy(settings),
    )
    if pretrained is not None:
        both = other_blocks.in_both(pretrained, backbone) if settings.allow_other_blocks else None
        saved_models.copy_weights(pretrained, backbone, both)
    backbone.normalisation = train.mean, train.std
    backbone.pixel_range = train.pixel_range and train.pixel_range.values
    classifier = kc.ConvNeXtV2Classifier(
        backbone,
        len(train.class_names),
        head_init_scale=settings.head_init_scale,
        class_names=train.class_names,
        multi_label=train.labels.ndim == 2,
    )

    def compile_for(epochs, warmup_epochs, ema_momentum):
        """Compiles the classifier for so many epochs of the layers that are not frozen."""
        num_updates, num_warmup = training_flags.num_updates(
            settings, len(batches), epochs, warmup_epochs
        )
        classifier.compile(
            optimizer=adamw(
                classifier,
                warmup_cosine(
                    settings.learning_rate, num_updates, num_warmup, settings.min_learning_rate
                ),
                settings.weight_decay,
                settings.beta_2,
                layer_decay=settings.layer_decay if settings.layer_decay < 1 else None,
                layer_decay_groups=settings.layer_decay_groups,
                clip_norm=settings.clip_norm or None,
                ema_momentum=ema_momentum or None,
                accumulation_steps=settings.accumulation_steps,
            ),
            loss=classification_loss(
                classifier.multi_label, soft_labels=augmentation.gives_soft_labels
            ),
            metrics=[] if classifier.multi_label else ["accuracy"],
        )

    phases = [(settings.trainable, settings.epochs, settings.warmup_epochs, settings.ema_momentum)]
    if settings.freeze_epochs:
        # Without averages: `fit` ends with them, and over few updates they are still the start.
        phases.insert(0, ("head", settings.freeze_epochs, settings.freeze_epochs / 10, None))
    first = phases[-1 if settings.dry_run else 0]  # the last takes the most
    training_run.set_trainable(classifier, first[0])
    compile_for(*first[1:])

    training_run.announce(
        settings,
        backend=keras.backend.backend(),
        images=training_run.taken(train, settings.size),
        **({} if validated is None else {"validation": validated.description}),
        start=settings.weights or "from scratch",
        model=f"{classifier.count_params():,} parameters",
        training=training_run.length(settings, batches),
        **doubtful_settings.remarks(settings, len(batches), class_weight),
    )
    if settings.dry_run:
        epochs = settings.freeze_epochs + settings.epochs
        num_checkpoints = projection.num_checkpoints(settings, epochs)
        of_run = {"num_evaluations": epochs, "num_checkpoints": num_checkpoints}
        result = projection.project(classifier, batches, epochs, validation_batches, **of_run)
        program.print_result(result, settings.json)
        return

    def train_and_test(folder):
        done = 0
        for trainable, epochs, *others in phases:
            if done:
                training_run.set_trainable(classifier, trainable)
                compile_for(epochs, *others)
            is_last = done + epochs == settings.freeze_epochs + settings.epochs
            logs = training_run.train(
                classifier,
                batches,
                folder,
                "fine-tuning",
                settings,
                epochs=(done, done + epochs),
                part=None if is_last else trainable,
                watchers=[chooser],
                hidden=chooser.hidden,
                class_weight=class_weight,
            )
            done += epochs
        chooser.take_best(classifier)
        classifier.temperature = chooser.temperature(classifier)
        scores, classes, found = evaluation_report.measure(classifier, test_batches, settings.tta)
        if not processes.is_writer():
            return {}
        kc.save_weights(classifier, folder / "model")
        report = folder / "test"
        evaluation_report.write(report, scores, classes, found, test_batches, num_worst=24)
        return {
            **chooser.outcome(done),
            **{f"test_{name}": value for name, value in scores.items()},
            "test_images": len(test),
            "train_images": len(train),
            "train_loss": logs["loss"],
            "model": str(folder / "model"),
            "report": str(report),
            "log": str(folder / "metrics.jsonl"),
        }

    program.print_result(run_folder.result(settings, train_and_test), settings.json)


if __name__ == "__main__":
    program.run(main)
