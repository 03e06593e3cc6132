"""Exporting a model: checked, written, tried, and only then put at its place."""

import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np

from keras_convnextv2.data.image_source import spread
from keras_convnextv2.export import check, keras_archive, trial
from keras_convnextv2.export.arguments import (
    check_arguments,
    check_images,
    check_unchanged,
    make_settings,
)
from keras_convnextv2.export.errors import ExportError
from keras_convnextv2.export.formats import format_of, require, write
from keras_convnextv2.export.network import demand_exportable, network_of
from keras_convnextv2.whole_files import make_folders, put, whole_file

_NUM_CALIBRATION = 100  # images, where none are given


def export_model(
    model,
    path,
    format=None,
    precision="float32",
    batch_size=None,
    image_size=None,
    include_preprocessing=False,
    output=None,
    normalisation=None,
    images=None,
    labels=None,
    calibration_images=None,
    threads=2,
    keep_failed=False,
):
    """Writes a model as an artefact of another runtime, and tries it there.

    The artefact is run in a process that has neither Keras nor this package, on random and on the
    given images, and compared with the model. Only then is it put at `path`, with a report beside
    it, `<name>.check.json`. It says of itself (in the way of its format) what it takes and gives,
    the class names and the licence of the weights; `open_artefact` reads that.

    Args:
        model: ConvNeXtV2Backbone or ConvNeXtV2Classifier, on any backend.
        path: str or Path, of a new file or, for a SavedModel, folder.
        format: "saved_model", "litert", "onnx", "openvino", "torch" or "keras"; None: by the
            ending of `path`, none, .tflite, .onnx, .xml, .pt2 or .keras. A `.keras` file holds
            the model as it is, and no settings but `format`, `images` and `labels` go with it.
        precision: "float32"; for LiteRT also "float16" (kernels stored so), "dynamic_int8"
            (int8 kernels, inputs scaled when they come) or "int8" (ranges from `images`); for
            OpenVINO also "float16".
        batch_size: int, or None for any.
        image_size: (height, width), each None for any (of "torch", any from twice the total
            stride on); default: the model's own.
        include_preprocessing: bool; True: the artefact takes uint8 pixels and normalises them.
        output: "logits" or "probabilities" for a classifier, "features" for a backbone. Default:
            what the model gives. Probabilities are those after a classifier's `temperature`, by
            softmax, by sigmoid where it is `multi_label`, or by its own activation. Logits are as
            they are, and the artefact says their temperature.
        normalisation: (mean, std), a float a channel each, of the images that the model was
            trained on; default: what the model says, else ImageNet's, for 3 channels.
        images: optional uint8 (N, height, width, channels), real ones to try the artefact on;
            needed for "int8" and "dynamic_int8".
        labels: optional int (N,), the right classes of `images`, to compare accuracies.
        calibration_images: optional uint8, as `images`, some 100 that give "int8" the ranges of
            its values; default: 100 of `images`.
        threads: int, of the latency that is measured.
        keep_failed: bool; True: an artefact that fails its trial is kept all the same.

    Returns:
        A `Report`.

    Raises:
        ExportError: settings that do not fit, or an artefact that fails its trial.
        ModuleNotFoundError: a package is missing; it says which extra brings it.
        FileExistsError: there is something at `path` already.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> from keras_convnextv2.export import export_model
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(small, (64, 64, 3)), 2)
        >>> photographs = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), "uint8")
        >>> report = export_model(model, "model.tflite", precision="float16", images=photographs)
        >>> report.num_images, report.problem is None
        (4, True)
    """
    path = Path(path)
    format = format or format_of(path)
    check_arguments(format, path, precision, images, labels)
    demand_exportable(model, any_block=format == "keras")
    settings = make_settings(
        model,
        precision=precision,
        batch_size=batch_size,
        image_size=image_size,
        include_preprocessing=include_preprocessing,
        output=output,
        normalisation=normalisation,
    )
    check_images(images, labels, settings)
    check_images(calibration_images, None, settings)
    if calibration_images is None and images is not None:
        calibration_images = np.asarray(images)[spread(len(images), _NUM_CALIBRATION)]
    if calibration_images is not None:
        calibration_images = settings.as_input(calibration_images)
    for taken in (path, report_path(path)):
        if taken.exists():
            raise FileExistsError(f"There is {taken} already. Remove it or name a new file.")
    require(format)
    if format == "keras":
        check_unchanged(settings, make_settings(model, normalisation=normalisation))
    else:
        network = as_asked(network_of(model), settings)
    make_folders(path.parent)
    with tempfile.TemporaryDirectory(prefix="unfinished.", dir=path.parent) as folder:
        unfinished = Path(folder, path.name)
        kept_float = None
        if format == "keras":
            keras_archive.write(model, unfinished)
        else:
            kept_float = write(format, network, unfinished, settings, calibration_images)
        report = trial.tried(model, unfinished, format, settings, images, labels, threads)
        report = dataclasses.replace(report, artefact=str(path), layers_kept_float=kept_float)
        if report.problem is not None and not keep_failed:
            raise ExportError(
                f"The {format} artefact does not compute what the model computes: "
                f"{report.problem}. Nothing was written to {path}.",
                report,
            )
        for file in [*check.companions(unfinished), unfinished]:
            put(file, path.parent / file.name)
    with whole_file(report_path(path)) as unfinished:
        unfinished.write_text(json.dumps(dataclasses.asdict(report), indent=1) + "\n")
    return report


def report_path(path):
    """Where the report of an artefact stands."""
    return Path(path).with_name(f"{Path(path).name}.check.json")


def as_asked(network, settings):
    """The network that takes and gives what the settings say."""
    if settings.output == "logits":
        network = dataclasses.replace(network, activation="linear")
    elif settings.output == "probabilities" and network.activation == "linear":
        activation = "sigmoid" if settings.multi_label else "softmax"
        network = dataclasses.replace(network, activation=activation)
        network = network.with_divided_logits(settings.temperature)
    if settings.dtype == "uint8":
        mean, std = np.asarray(settings.mean), np.asarray(settings.std)
        network = network.with_scaled_images(1 / (255 * std), -mean / std)
    return network
