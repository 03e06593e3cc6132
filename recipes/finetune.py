r"""Trains a classifier, from pretrained weights or from scratch.

On 10 labels a class of the embedded images, from what recipes.pretrain left, and from scratch:
    python -m recipes.finetune --output_dir=runs/finetuned --weights=runs/pretrained \
        --labels_per_class=10
    python -m recipes.finetune --output_dir=runs/scratch --labels_per_class=10

From Meta's weights, with the extra `hub` installed:
    python -m recipes.finetune --output_dir=runs/finetuned --data_dir=photographs \
        --weights=hf://timm/convnextv2_atto.fcmae

On a folder of your own with a folder a class:
    python -m recipes.finetune --output_dir=runs/finetuned --weights=runs/pretrained \
        --data_dir=photographs

Leaves in the output folder: settings.flags, metrics.jsonl, checkpoints/last.keras, model.keras
(the classifier, with the names of its classes). Prints the accuracy on the test split.
"""

from absl import flags

from recipes import images, program, saved_models, training_flags, training_run

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "weights",
    "",
    "Pretrained weights: a run's folder or .keras file, or those of the official code, timm, "
    "transformers or mmpretrain, as file, folder or hf://owner/name. Empty: from scratch.",
)
flags.DEFINE_integer("labels_per_class", 0, "Train on this many images a class; 0: on all.")
flags.DEFINE_float("drop_path_rate", 0.0, "Stochastic depth of the last block.")
flags.DEFINE_bool("evaluate_each_epoch", False, "Evaluate after each epoch, not only at the end.")
training_flags.define_data_flags()
training_flags.define_model_flags()
training_flags.define_training_flags()
flags.adopt_module_key_flags(training_flags)


# For the embedded images: with 10 labels a class, 60 epochs * 5 steps = 300 steps. For a folder:
# a rate that was measured to learn at a batch of 32 as of 256. The paper's base rate of the smaller
# models (table 11), 2e-4, would be 2.5e-5 at 32: it is for 600 epochs of ImageNet.
EMBEDDED_RUN = {"batch_size": 20, "epochs": 60, "learning_rate": 1e-3}
FOLDER_RUN = {"batch_size": 64, "epochs": 50, "learning_rate": 1e-3}


def main():
    pretrained, model_defaults = None, None
    if FLAGS.weights:
        pretrained = saved_models.backbone_of(saved_models.load(FLAGS.weights))
        model_defaults = saved_models.model_flags(pretrained)
    training_flags.resolve((EMBEDDED_RUN, FOLDER_RUN), model_defaults)
    size = training_flags.image_size()
    variant = training_flags.chosen_variant()
    if not FLAGS.dry_run:
        training_run.check_output_dir()
    source = images.open_images("train")
    if FLAGS.labels_per_class:
        source = source.labels_per_class(FLAGS.labels_per_class, FLAGS.seed)
    batches = images.training_batches(source, size, labelled=True)
    evaluation = images.evaluation_batches(images.open_images("test"), size, labelled=True)

    import keras

    import keras_convnextv2 as kc
    from keras_convnextv2.training.checkpoints import save_model
    from keras_convnextv2.training.optimizers import adamw
    from keras_convnextv2.training.schedules import warmup_cosine

    keras.utils.set_random_seed(FLAGS.seed)
    backbone = kc.ConvNeXtV2Backbone(
        variant,
        image_shape=(*size, source.channels),
        stem_stride=FLAGS.stem_stride,
        drop_path_rate=FLAGS.drop_path_rate,
        seed=FLAGS.seed,
        dtype=training_flags.dtype_policy(),
    )
    if pretrained is not None:
        saved_models.copy_weights(pretrained, backbone)
    backbone.normalisation = source.mean, source.std
    backbone.pixel_range = source.pixel_range and source.pixel_range.values
    names = source.class_names
    classifier = kc.ConvNeXtV2Classifier(backbone, len(names), class_names=names)

    num_steps, num_warmup_steps = training_flags.resolve_steps(len(batches))
    schedule = warmup_cosine(
        FLAGS.learning_rate, num_steps, num_warmup_steps, minimum=FLAGS.learning_rate / 1000
    )
    classifier.compile(
        optimizer=adamw(classifier, schedule, FLAGS.weight_decay),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )

    training_run.announce(
        backend=keras.backend.backend(),
        images=training_run.taken(source, size),
        start=FLAGS.weights or "from scratch",
        model=f"{classifier.count_params():,} parameters",
        training=training_run.length(batches, num_warmup_steps),
    )
    if FLAGS.dry_run:
        return
    folder = training_run.open_output_dir()
    each_epoch = evaluation if FLAGS.evaluate_each_epoch else None
    logs = training_run.train(classifier, batches, folder, "fine-tuning", each_epoch)
    save_model(classifier, folder / "model.keras")

    scores = images.evaluate(classifier, evaluation)
    result = {
        "test_accuracy": scores["accuracy"],
        "test_loss": scores["loss"],
        "test_images": evaluation.num_images,
        "train_images": len(source),
        "train_loss": logs["loss"],
        "model": str(folder / "model.keras"),
        "log": str(folder / "metrics.jsonl"),
    }
    program.print_result(result, FLAGS.json)


if __name__ == "__main__":
    program.run(main)
