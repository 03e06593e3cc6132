"""Writes a model for another runtime, and tries it there before it is called done.

    python -m recipes.export --weights=runs/finetuned --output=model.tflite --precision=int8 \\
        --data_dir=photographs --include_preprocessing --batch_size=1
    python -m recipes.export --weights=runs/finetuned --output=model.onnx

The artefact runs in a process of its own, without Keras, and is compared with the model on noise
and on the test images of --data_dir; where these are of the model's classes, the accuracies too.
An artefact outside its tolerance is not kept. Beside it stands <output>.check.json.
"""

import dataclasses
import sys

from absl import flags

from . import (
    image_memory,
    images,
    model_flags,
    normalisation,
    pixel_range,
    program,
    saved_models,
)
from .printable import printable

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "weights",
    None,
    "A run's folder or .keras file, or weights of the official code, timm, transformers or "
    "mmpretrain, as file, folder or hf://owner/name.",
    required=True,
)
flags.DEFINE_string(
    "output",
    None,
    "New file, whose ending names the format: .tflite (LiteRT), .onnx, .xml (OpenVINO), .pt2 "
    "(PyTorch), .keras; or a new folder without an ending, for a SavedModel.",
    required=True,
)
flags.DEFINE_enum(
    "format",
    None,
    ["litert", "onnx", "openvino", "saved_model", "torch", "keras"],
    "Default: by the ending of --output.",
)
flags.DEFINE_enum(
    "precision",
    "float32",
    ["float32", "float16", "dynamic_int8", "int8"],
    "Of a LiteRT artefact; OpenVINO also knows float16.",
)
flags.DEFINE_integer("batch_size", 0, "Images a call; 0: any number.", lower_bound=0)
flags.DEFINE_string(
    "image_size",
    None,
    "Size of the images in pixels, H or HxW; any: any size. Default: the model's own, or 224 where "
    "it takes any.",
)
flags.DEFINE_bool(
    "include_preprocessing", False, "The artefact takes uint8 pixels and normalises them itself."
)
flags.DEFINE_enum(
    "activation",
    None,
    ["none", "softmax"],
    "Of a classifier's output: logits or probabilities, after its temperature; where images have "
    "several labels, softmax stands for a sigmoid. Default: as the model has it.",
)
flags.DEFINE_string(
    "data_dir",
    "",
    "Folder of images as in recipes.finetune: the training images calibrate int8, the test images "
    "are tried. Empty: the embedded images, for a model of one channel.",
)
flags.DEFINE_integer(
    "trial_images", 500, "Test images that the artefact is tried on, at most.", lower_bound=1
)
flags.DEFINE_integer("threads", 2, "CPU threads, for the latency.", lower_bound=1)
flags.DEFINE_bool("keep_failed", False, "Keep an artefact that fails its trial.")
flags.DEFINE_bool("json", False, "Print the results as one JSON object.")
image_memory.define_flags()
flags.adopt_module_key_flags(image_memory)
normalisation.define_flags()
flags.adopt_module_key_flags(normalisation)
pixel_range.define_flags()
flags.adopt_module_key_flags(pixel_range)

_NUM_CALIBRATION = 100
_OUTPUTS = {None: None, "none": "logits", "softmax": "probabilities"}


def main():
    from keras_convnextv2.data.image_source import spread
    from keras_convnextv2.export import export_model

    model = saved_models.load(FLAGS.weights)
    backbone = saved_models.backbone_of(model)
    if FLAGS.activation is not None and not hasattr(model, "num_classes"):
        raise ValueError("--activation is of a classifier's output; --weights is a backbone.")
    if hasattr(model, "decoder"):
        model = backbone  # of a pretraining: the decoder is not for use
    size = _image_size(backbone.image_shape[:2])
    _remark_on_size(size, backbone.image_shape[:2])
    channels = backbone.image_shape[-1]
    trained_with = pixel_range.known(backbone.pixel_range, FLAGS.weights)
    trial, calibration = _sources(channels, trained_with)
    normalisation.settle(backbone, FLAGS.weights, trial)
    used = trained_with or (trial and trial.pixel_range)
    backbone.pixel_range = used and used.values  # which the artefact says of itself
    pictures = labels = None
    if trial is not None:
        read_size = tuple(side or 224 for side in size)
        chosen = spread(len(trial), FLAGS.trial_images)
        pictures = trial.read(chosen, read_size)
        if trial.labels is not None and trial.labels.ndim > 1:
            _say("The images have several labels each: accuracy is not compared.")
        elif trial.labels is not None and _same_classes(model, trial):
            labels = trial.labels[chosen]
        elif FLAGS.data_dir:
            _say("--data_dir is not of the model's classes: accuracy is not compared.")
    calibration_images = None
    if FLAGS.precision == "int8" and calibration is not None:
        chosen = spread(len(calibration), _NUM_CALIBRATION)
        calibration_images = calibration.read(chosen, read_size)
        if len(calibration_images) < _NUM_CALIBRATION:
            _say(
                f"int8 is calibrated with {len(calibration_images)} training images, all there "
                f"are; {_NUM_CALIBRATION} or more make its accuracy surer."
            )
    num_images = "images of noise" if pictures is None else f"{len(pictures)} images"
    _say(f"writing {FLAGS.output}, then trying it on {num_images}: this may take minutes")
    report = export_model(
        model,
        FLAGS.output,
        format=FLAGS.format,
        precision=FLAGS.precision,
        batch_size=FLAGS.batch_size or None,
        image_size=size,
        include_preprocessing=FLAGS.include_preprocessing,
        output=_OUTPUTS[FLAGS.activation],
        images=pictures,
        labels=labels,
        calibration_images=calibration_images,
        threads=FLAGS.threads,
        keep_failed=FLAGS.keep_failed,
    )
    if FLAGS.json:
        program.print_result(dataclasses.asdict(report), as_json=True)
    else:
        program.print_result(_told(report, hasattr(model, "num_classes")), as_json=False)


def _told(report, is_classifier):
    """A `Report` as lines to read."""
    from keras_convnextv2.export.artefact import report_path

    first = "first class" if is_classifier else "largest feature"
    told = {
        "artefact": report.artefact,
        "trial": f"FAILED: {report.problem}" if report.problem else "passed",
        "images": f"{report.num_images}, {report.agreement:.1%} with the {first} of Keras",
        "accuracy": (
            None
            if report.accuracy is None
            else f"{report.accuracy:.1%}, in Keras {report.keras_accuracy:.1%}"
        ),
        "largest difference": (
            f"{report.largest_difference:.2g}, {report.relative_difference:.2g} of the range"
        ),
        "size": f"{report.num_bytes / 1e6:.2f} MB",
        "latency": (
            f"{report.latency_milliseconds:.1f} ms a batch of {report.latency_batch_size}, "
            f"{report.threads} threads"
        ),
        "not in int8": (
            report.layers_kept_float
            and {layer: f"(error {error:.2g})" for layer, error in report.layers_kept_float.items()}
        ),
        "report": report_path(report.artefact),
    }
    return {name: value for name, value in told.items() if value}


def _image_size(known):
    if FLAGS.image_size == "any":
        return (None, None)
    if FLAGS.image_size is not None:
        return model_flags.given_image_size()
    if FLAGS.output.endswith(".keras"):  # which holds the model as it is
        return known
    return tuple(side or 224 for side in known)


def _remark_on_size(size, known):
    if None not in size and None not in known and tuple(size) != tuple(known):
        _say(
            f"--image_size: the model's own size is {known[0]} x {known[1]} pixels; at {size[0]} x "
            f"{size[1]} its accuracy is another."
        )


def _say(remark):
    print(printable(remark), file=sys.stderr)


def _sources(channels, trained_with):
    """The images to try, and those to calibrate with; None where there are none."""
    trial = images.open_images("test", trained_with)
    if trial.channels == channels:
        return trial, images.open_images("train", trained_with)
    if FLAGS.data_dir:
        raise ValueError(
            f"--weights takes images of {channels} channels; these have {trial.channels}: "
            f"{trial.description}"
        )
    return None, None


def _same_classes(model, source):
    if getattr(model, "num_classes", None) != len(source.class_names):
        return False
    return model.class_names is None or model.class_names == tuple(source.class_names)


if __name__ == "__main__":
    program.run(main)
