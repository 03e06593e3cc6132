r"""Measures a fine-tuned classifier on labelled images, or a pretrained FCMAE's loss on images.

    python -m recipes.evaluate --weights=runs/finetuned
    python -m recipes.evaluate --weights=runs/finetuned --data_dir=photographs --json
    python -m recipes.evaluate --weights=runs/finetuned --data_dir=photographs --tta \
        --output_dir=runs/finetuned_test
    python -m recipes.evaluate --weights=runs/pretrained/checkpoints

Of a classifier it prints accuracy, accuracy among the first --top classes, balanced accuracy (the
mean recall of the classes) and macro-F1; where images have several labels, mean average precision
and F1. Of both it prints how far the probabilities can be believed: negative log-likelihood, Brier
score and expected calibration error, after the temperature that the classifier has; "loss" is the
negative log-likelihood before it, as in training.

--output_dir, a new folder, gets report.json with all figures (the confusion matrix of more than
200 classes is in confusion.npz), per_class.csv, and pictures: confusion.png (of one label an
image), worst.png with the mistakes that the classifier was surest of, and reliability.png. It
takes memory for the probabilities, not for the images.

--split=validation measures what a fine-tuning held out of the same folder, --split=all the whole
folder.

An FCMAE is measured under fixed masks, so that the figure repeats exactly.
"""

import dataclasses
import sys
import time

from absl import flags

from . import (
    evaluated_images,
    evaluation_report,
    image_sizes,
    images,
    model_flags,
    normalisation,
    pixel_range,
    program,
    run_settings,
    saved_models,
    training_flags,
)
from .printable import printable

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "weights",
    None,
    "A run's folder or .keras file, or a classifier of the official code, timm, transformers or "
    "mmpretrain, as file, folder or hf://owner/name.",
    required=True,
)
flags.DEFINE_string(
    "image_size",
    None,
    "Size of the images in pixels, H or HxW, for a model that takes any. Default: 224 with "
    "--data_dir, else 32.",
)
evaluated_images.define_flags()
flags.adopt_module_key_flags(evaluated_images)
flags.DEFINE_bool(
    "tta",
    False,
    "Show a classifier each image and its mirror image, and take the mean of the probabilities. "
    "It takes twice as long.",
)
flags.DEFINE_integer(
    "top", 5, "Count an image as right among this many first classes.", lower_bound=1
)
flags.DEFINE_string(
    "output_dir", None, "New folder for report.json, tables and pictures. Default: none."
)
flags.DEFINE_integer("worst", 24, "Mistakes in the picture worst.png.", lower_bound=1)
flags.DEFINE_bool("json", False, "Print the results as one JSON object, with those a class.")
training_flags.define_data_flags(batch_size=100)
flags.adopt_module_key_flags(training_flags)
normalisation.define_flags()
flags.adopt_module_key_flags(normalisation)


_NUM_WEAKEST = 5  # classes that are told on the screen


def main():
    folder = evaluation_report.new_folder(FLAGS.output_dir)
    model = saved_models.load(FLAGS.weights, model_flags.given_image_size())

    import keras_convnextv2 as kc

    if isinstance(model, kc.ConvNeXtV2Backbone):
        raise ValueError(
            f"--weights: {FLAGS.weights} holds a backbone, which has no accuracy. Fine-tune it "
            "with recipes.finetune, or name the checkpoints of its pretraining."
        )
    is_classifier = isinstance(model, kc.ConvNeXtV2Classifier)
    if not is_classifier and (FLAGS.tta or folder):
        raise ValueError(
            f"--tta and --output_dir are of classifiers; {FLAGS.weights} holds a pretraining."
        )
    backbone = saved_models.backbone_of(model)
    trained_with = pixel_range.known(backbone.pixel_range, FLAGS.weights)
    source = evaluated_images.open_images(trained_with)
    images.check_channels(source, backbone.image_shape[-1])
    if is_classifier:
        _check_classes(model, source)
    settings = image_sizes.as_weights_ask(run_settings.from_flags(), FLAGS.weights, backbone)
    height, width = settings.size
    print(
        f"images           {printable(source.description)}, taken at {height} x {width} pixels",
        file=sys.stderr,
    )
    normalisation.settle(backbone, FLAGS.weights, source)
    mean, std = backbone.normalisation
    source = dataclasses.replace(source, mean=mean, std=std)
    batches = images.evaluation_batches(source, settings, labelled=is_classifier)
    if is_classifier:
        _evaluate_classifier(model, source, batches, folder)
    else:
        model.compile()
        started = time.monotonic()
        scores = images.evaluate(model, batches)
        _print({**scores, **_cost(source, started)})


def _check_classes(model, source):
    if source.labels is None:
        raise ValueError(f"There are no labels to compare with: {source.description}")
    if model.num_classes != len(source.class_names):
        raise ValueError(
            f"--weights tells {model.num_classes} classes apart; the images are of "
            f"{len(source.class_names)}: {source.description}"
        )
    saved_models.check_class_names(model, source.class_names, source.description)


def _evaluate_classifier(model, source, batches, folder):
    started = time.monotonic()
    result, classes, found = evaluation_report.measure(model, batches, FLAGS.tta, FLAGS.top)
    result |= {"split": FLAGS.split, **_cost(source, started)}
    if folder is not None:
        result["report"] = str(folder)
        kept = {"weights": FLAGS.weights, **result}
        evaluation_report.write(folder, kept, classes, found, batches, FLAGS.worst)
    if FLAGS.json:
        _print({**result, "per_class": classes})
    else:
        occurring = [row for row in classes if row["support"]]
        weakest = sorted(occurring, key=lambda row: row["f1"])[:_NUM_WEAKEST]
        _print({**result, "lowest_f1": {row["class"]: row["f1"] for row in weakest}})


def _cost(source, started):
    return {"images": len(source), "seconds": round(time.monotonic() - started, 2)}


def _print(result):
    program.print_result(result, FLAGS.json)


if __name__ == "__main__":
    program.run(main)
