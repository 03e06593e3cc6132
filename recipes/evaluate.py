"""Measures a fine-tuned classifier on the test split, or a pretrained FCMAE's loss on it.

    python -m recipes.evaluate --weights=runs/finetuned
    python -m recipes.evaluate --weights=runs/finetuned --data_dir=photographs --json
    python -m recipes.evaluate --weights=runs/pretrained/checkpoints/last.keras

An FCMAE is measured under fixed masks, so that the figure repeats exactly.
"""

import dataclasses
import time

from absl import flags

from . import (
    image_sizes,
    images,
    normalisation,
    pixel_range,
    program,
    saved_models,
    training_flags,
)

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
flags.DEFINE_bool("json", False, "Print the results as one JSON object.")
training_flags.define_data_flags(batch_size=100)
flags.adopt_module_key_flags(training_flags)
normalisation.define_flags()
flags.adopt_module_key_flags(normalisation)


def main():
    size = training_flags.image_size() if FLAGS.image_size is not None else None
    model = saved_models.load(FLAGS.weights, size)

    import keras

    import keras_convnextv2 as kc

    if isinstance(model, kc.ConvNeXtV2Backbone):
        raise ValueError(
            f"--weights: {FLAGS.weights} holds a backbone, which has no accuracy. Fine-tune it "
            "with recipes.finetune, or name the checkpoints/last.keras of its pretraining."
        )
    backbone = saved_models.backbone_of(model)
    source = images.open_images("test", pixel_range.known(backbone.pixel_range, FLAGS.weights))
    channels = backbone.image_shape[-1]
    if channels != source.channels:
        raise ValueError(
            f"--weights takes images of {channels} channels; these have {source.channels}: "
            f"{source.description}"
        )
    is_classifier = isinstance(model, kc.ConvNeXtV2Classifier)
    if is_classifier:
        if source.labels is None:
            raise ValueError(f"There are no labels to compare with: {source.description}")
        if model.num_classes != len(source.class_names):
            raise ValueError(
                f"--weights tells {model.num_classes} classes apart; the images are of "
                f"{len(source.class_names)}: {source.description}"
            )
        saved_models.check_class_names(model, source.class_names, source.description)
        model.compile(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
    else:
        model.compile()
    size = _image_size(backbone)
    normalisation.settle(backbone, FLAGS.weights, source)
    mean, std = backbone.normalisation
    source = dataclasses.replace(source, mean=mean, std=std)
    batches = images.evaluation_batches(source, size, labelled=is_classifier)
    started = time.monotonic()
    scores = images.evaluate(model, batches)
    seconds = time.monotonic() - started
    result = {**scores, "images": len(source), "seconds": round(seconds, 2)}
    program.print_result(result, FLAGS.json)


def _image_size(backbone):
    """The (H, W) to evaluate with: --image_size, else the model's, else what suits the images."""
    known = backbone.image_shape[:2]
    if FLAGS.image_size is None and None in known:
        FLAGS.image_size = training_flags.default_image_size()
    given = None if FLAGS.image_size is None else training_flags.image_size()
    return image_sizes.size_for(known, backbone.total_stride, "--weights", given)


if __name__ == "__main__":
    program.run(main)
