r"""Fine-tunes a model in tf_keras (Keras 2) that was made, or pretrained, in Keras 3.

    python -m recipes.neighbours.fine_tune_with_tf_keras --output=garments.keras
    python -m recipes.neighbours.fine_tune_with_tf_keras --output=garments.keras \
        --weights=runs/pretrained

Converts it, shows how far the two models' outputs lie apart, trains tf_keras's on the embedded
images, saves it, loads the file again, and prints loss and accuracy on the test split before and
after. A backbone gets a new classifier, a classifier is trained on.
"""

from absl import flags

from .. import images, model_flags, program, run_settings, saved_models, training_flags

FLAGS = flags.FLAGS

flags.DEFINE_string("output", None, "File to save to: .keras, .h5, or a SavedModel's folder.")
flags.mark_flag_as_required("output")
flags.DEFINE_string("weights", "", "As for recipes.finetune. Empty: from scratch.")
flags.DEFINE_integer("train_images", 2000, "Images to train on, equally many a class.")
flags.DEFINE_integer("epochs", 5, "Passes over the images.", lower_bound=1)
flags.DEFINE_float("learning_rate", 1e-3, "Of Adam.", lower_bound=0)
flags.DEFINE_integer("seed", 0, "Of weights, chosen images and order.", lower_bound=0)
flags.DEFINE_bool("json", False, "Print the results as one JSON object.")
training_flags.define_data_flags(batch_size=50)
flags.adopt_module_key_flags(training_flags)


def main():
    train, test = images.open_images("train"), images.open_images("test")
    train = train.labels_per_class(FLAGS.train_images // len(train.class_names), FLAGS.seed)

    import keras
    import numpy as np

    import keras_convnextv2 as kc
    from keras_convnextv2.export.partner_packages import import_partner
    from keras_convnextv2.export.tf_keras_model import to_tf_keras

    tf_keras = import_partner("tf_keras", extra="tf-keras")
    keras.utils.set_random_seed(FLAGS.seed)
    if FLAGS.weights:
        model = saved_models.load(FLAGS.weights)
    else:
        settings = model_flags.EMBEDDED_MODEL
        variant = {name: tuple(map(int, settings[name])) for name in ("depths", "widths")}
        model = kc.ConvNeXtV2Backbone(
            kc.Variant(**variant), (32, 32, train.channels), settings["stem_stride"]
        )
    if not isinstance(model, kc.ConvNeXtV2Classifier):
        model = kc.ConvNeXtV2Classifier(
            saved_models.backbone_of(model), len(train.class_names), class_names=train.class_names
        )
    *size, channels = model.backbone.image_shape
    if channels != train.channels or model.num_classes != len(train.class_names):
        raise ValueError(
            f"--weights takes images of {channels} channels and tells {model.num_classes} classes "
            f"apart; the images have {train.channels}, in {len(train.class_names)}."
        )
    saved_models.check_class_names(model, train.class_names, train.description)
    native_size = train.native_size or (224, 224)
    size = [side or native for side, native in zip(size, native_size, strict=True)]

    copied = to_tf_keras(model)
    tf_keras.utils.set_random_seed(FLAGS.seed)

    def arrays(source, framing):
        pixels = source.read(range(len(source)), framing)
        return kc.preprocess(pixels, source.mean, source.std), source.labels

    framing = images.evaluation_framing(run_settings.from_flags().replaced(size=tuple(size)))
    train_images, train_labels = arrays(train, size)
    test_images, test_labels = arrays(test, framing)
    few = test_images[:8]
    apart = np.abs(copied.predict(few, verbose=0) - model.predict(few, verbose=0)).max()

    copied.compile(
        optimizer=tf_keras.optimizers.Adam(FLAGS.learning_rate),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(
            from_logits=model.activation is keras.activations.linear
        ),
        metrics=["accuracy"],
    )
    measure = dict(x=test_images, y=test_labels, batch_size=FLAGS.batch_size, verbose=0)
    loss_before, accuracy_before = copied.evaluate(**measure)
    copied.fit(
        train_images,
        train_labels,
        batch_size=FLAGS.batch_size,
        epochs=FLAGS.epochs,
        verbose=0 if FLAGS.json else 2,
    )
    copied.save(FLAGS.output)
    loss_after, accuracy_after = tf_keras.models.load_model(FLAGS.output).evaluate(**measure)
    result = {
        "apart_from_keras_3": float(apart),
        "loss_before": loss_before,
        "loss_after": loss_after,
        "accuracy_before": accuracy_before,
        "accuracy_after": accuracy_after,
        "test_images": len(test_images),
        "model": FLAGS.output,
    }
    program.print_result(result, FLAGS.json)


if __name__ == "__main__":
    program.run(main)
