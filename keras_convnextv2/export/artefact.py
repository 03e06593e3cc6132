"""Exporting a model: what to write, how, and the trial that it has to pass."""

import dataclasses
import importlib.util
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from keras_convnextv2.data.image_source import spread
from keras_convnextv2.export import (
    check,
    isolated,
    keras_archive,
    litert,
    litert_quantization,
    onnx_graph,
    openvino_ir,
)
from keras_convnextv2.export.errors import ExportError
from keras_convnextv2.export.network import network_of
from keras_convnextv2.export.reference import reference_outputs
from keras_convnextv2.export.runtimes import SUFFIXES
from keras_convnextv2.export.settings import PRECISIONS, Settings
from keras_convnextv2.models.normalisation import IMAGENET_MEAN, IMAGENET_STD

# The packages that writing and trying a format needs, and the extra that brings them.
FORMATS = {
    "saved_model": ("tensorflow",),
    "litert": ("ai_edge_litert",),
    "onnx": ("onnx", "onnxruntime"),
    "openvino": ("openvino", "onnx"),
    "torch": ("torch",),
    "keras": (),
}
_SUFFIXES = {**SUFFIXES, "keras": ".keras"}
_EXTRAS = {"saved_model": "tensorflow"}  # where the extra is not named like the format
_HALF_FORMATS = ("litert", "openvino")
_NUM_RANDOM = 4  # images of noise that every artefact is tried on
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

        export_model(classifier, "model.tflite", precision="int8", images=photographs)

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
        output: "logits" or "probabilities" (softmax, or a classifier's own activation) for a
            classifier, "features" for a backbone. Default: what the model gives.
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
    """
    path = Path(path)
    format = format or format_of(path)
    _check_arguments(format, path, precision, images, labels)
    network = network_of(model)
    settings = make_settings(
        model,
        precision=precision,
        batch_size=batch_size,
        image_size=image_size,
        include_preprocessing=include_preprocessing,
        output=output,
        normalisation=normalisation,
    )
    _check_images(images, labels, settings)
    _check_images(calibration_images, None, settings)
    if calibration_images is None and images is not None:
        calibration_images = np.asarray(images)[spread(len(images), _NUM_CALIBRATION)]
    if calibration_images is not None:
        calibration_images = settings.as_input(calibration_images)
    for taken in (path, report_path(path)):
        if taken.exists():
            raise FileExistsError(f"There is {taken} already. Remove it or name a new file.")
    require(format)
    if network.num_classes is not None:
        network = dataclasses.replace(network, activation=_activation(network, settings))
    if include_preprocessing:
        mean, std = np.asarray(settings.mean), np.asarray(settings.std)
        network = network.with_scaled_images(1 / (255 * std), -mean / std)
    if format == "keras":
        _check_unchanged(settings, make_settings(model, normalisation=normalisation))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unfinished.", dir=path.parent) as folder:
        unfinished = Path(folder, path.name)
        kept_float = None
        if format == "keras":
            keras_archive.write(model, unfinished)
        else:
            kept_float = write(format, network, unfinished, settings, calibration_images)
        report = _tried(model, unfinished, format, settings, images, labels, threads)
        report = dataclasses.replace(report, artefact=str(path), layers_kept_float=kept_float)
        if report.problem is not None and not keep_failed:
            raise ExportError(
                f"The {format} artefact does not compute what the model computes: "
                f"{report.problem}. Nothing was written to {path}.",
                report,
            )
        for file in [*check.companions(unfinished), unfinished]:
            os.replace(file, path.parent / file.name)
    report_path(path).write_text(json.dumps(dataclasses.asdict(report), indent=1) + "\n")
    return report


def format_of(path):
    """The format that the ending of a path names.

    Raises:
        ExportError: an ending of no format.
    """
    suffix = Path(path).suffix
    if suffix == "":
        return "saved_model"
    for kind, ending in _SUFFIXES.items():
        if suffix == ending:
            return kind
    raise ExportError(
        f"The ending of {path} names no format; they are {', '.join(_SUFFIXES.values())}, and none "
        "for a SavedModel's folder."
    )


def report_path(path):
    """Where the report of an artefact stands."""
    return Path(path).with_name(f"{Path(path).name}.check.json")


def require(format):
    """Raises ModuleNotFoundError, naming the extra, where a format's packages are missing."""
    for package in FORMATS[format]:
        if importlib.util.find_spec(package) is None:
            extra = _EXTRAS.get(format, format)
            raise ModuleNotFoundError(
                f"Exporting to {format} needs the package {package}: "
                f"pip install 'keras-convnextv2[{extra}]'",
                name=package,
            )


def make_settings(
    model,
    precision="float32",
    batch_size=None,
    image_size=None,
    include_preprocessing=False,
    output=None,
    normalisation=None,
):
    """The `Settings` of an artefact of a model; arguments are those of `export_model`."""
    backbone = getattr(model, "backbone", model)
    *own_size, channels = backbone.image_shape
    size = own_size if image_size is None else image_size
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise ExportError(f"`image_size` must be (height, width). Received: {image_size!r}")
    if any(side is not None and side < backbone.total_stride for side in size):
        raise ExportError(
            f"Images must be at least {backbone.total_stride} pixels a side. Received: {size}"
        )
    if batch_size is not None and batch_size < 1:
        raise ExportError(f"`batch_size` must be positive or None. Received: {batch_size!r}")
    normalisation = normalisation or backbone.normalisation
    if normalisation is None:
        if channels != len(IMAGENET_MEAN):
            raise ExportError(
                f"Images of {channels} channels have no usual normalisation: give `normalisation`, "
                "the (mean, std) of the images that the model was trained on."
            )
        normalisation = IMAGENET_MEAN, IMAGENET_STD
    mean, std = (tuple(float(value) for value in values) for values in normalisation)
    if not len(mean) == len(std) == channels:
        raise ExportError(
            f"`normalisation` must be (mean, std) of {channels} floats each. "
            f"Received: {normalisation!r}"
        )
    is_backbone = not hasattr(model, "num_classes")
    own_activation = getattr(getattr(model, "activation", None), "__name__", "linear")
    known = ("features",) if is_backbone else ("logits", "probabilities")
    if output is None:
        output = known[0] if own_activation == "linear" else "probabilities"
    if output not in known:
        raise ExportError(
            f"`output` of this model is {' or '.join(map(repr, known))}. Received: {output!r}"
        )
    return Settings(
        input_shape=(batch_size, *size, channels),
        dtype="uint8" if include_preprocessing else "float32",
        mean=mean,
        std=std,
        output=output,
        precision=precision,
        class_names=getattr(model, "class_names", None),
        licence=backbone.licence,
    )


def _check_arguments(format, path, precision, images, labels):
    if format not in FORMATS:
        raise ExportError(f"`format` must be one of {', '.join(FORMATS)}. Received: {format!r}")
    suffix = _SUFFIXES.get(format, "")
    if path.suffix != suffix:
        raise ExportError(
            f"The name of a {format} artefact ends in {suffix}. Received: {path}"
            if suffix
            else f"A SavedModel is a folder, whose name has no ending. Received: {path}"
        )
    if precision not in PRECISIONS:
        raise ExportError(
            f"`precision` must be one of {', '.join(PRECISIONS)}. Received: {precision!r}"
        )
    if precision != "float32" and (
        format not in _HALF_FORMATS or (precision != "float16" and format != "litert")
    ):
        raise ExportError(
            f"There is no {precision} of the format {format}: LiteRT has all of "
            f"{', '.join(PRECISIONS)}, OpenVINO float32 and float16, the others float32."
        )
    if "int8" in precision and images is None:
        raise ExportError(
            f"{precision} is calibrated or judged by real images: give `images` (--data_dir of "
            "recipes.export), some 100 or more of the kind that the model will see."
        )
    if labels is not None and images is None:
        raise ExportError("`labels` without `images`.")


def _check_unchanged(settings, own):
    """Raises ExportError for what a `.keras` file cannot have otherwise than its model."""
    differs = {
        "precision": settings.precision != own.precision,
        "batch_size": settings.input_shape[0] != own.input_shape[0],
        "image_size": settings.input_shape[1:] != own.input_shape[1:],
        "include_preprocessing": settings.dtype != own.dtype,
        "output (--activation of recipes.export)": settings.output != own.output,
    }
    given = " and ".join(name for name in differs if differs[name])
    if given:
        raise ExportError(f"A .keras file holds the model as it is: leave out {given}.")


def _check_images(images, labels, settings):
    if images is None:
        return
    _, height, width, channels = settings.input_shape
    shape = np.shape(images)
    fits = len(shape) == 4 and all(
        wanted in (None, given)
        for wanted, given in zip((height, width, channels), shape[1:], strict=True)
    )
    if not fits or np.asarray(images).dtype != "uint8":
        raise ExportError(
            f"`images` must be uint8 (N, {height}, {width}, {channels}). Received: "
            f"{np.asarray(images).dtype} {shape}"
        )
    if labels is not None and len(labels) != len(images):
        raise ExportError(f"`labels` are {len(labels)}, `images` {len(images)}.")


def _activation(network, settings):
    if settings.output == "logits":
        return "linear"
    return "softmax" if network.activation == "linear" else network.activation


def write(format, network, path, settings, images=None):
    """Writes an artefact without trying it.

    Args:
        format, path: as in `export_model`.
        network: a `Network` in the terms of the artefact's input.
        settings: a `Settings`.
        images: calibration images in the artefact's dtype, for "int8".

    Returns:
        {layer: relative error it caused in int8} of the layers that stayed in float32, of an int8
        artefact; else None.
    """
    if format in ("saved_model", "torch"):
        isolated.write(format, network, path, settings)
    elif format == "onnx":
        onnx_graph.write(network, path, settings)
    elif format == "openvino":
        openvino_ir.write(network, path, settings)
    elif settings.precision != "int8":
        litert.write(network, path, settings)
    else:
        choice = litert_quantization.choose(network, settings, images)
        litert.write(network, path, settings, choice.plan)
        return {layer: choice.errors[layer] for layer in choice.kept_float}
    return None


def _tried(model, path, format, settings, images, labels, threads):
    """The `Report` of an artefact: on the given images, on noise, and on noise of another size."""
    total_stride = getattr(model, "backbone", model).total_stride
    _, height, width, channels = settings.input_shape
    shape = (_NUM_RANDOM, height or 7 * total_stride, width or 7 * total_stride, channels)
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    trials = [(noise, None)]
    if None in (height, width):
        trials.insert(
            0, (noise[:, : height or 3 * total_stride, : width or 5 * total_stride], None)
        )
    if settings.is_integer:  # the first class of noise says nothing
        trials = []
    if images is not None:
        trials.append((np.asarray(images), labels))
    batches = [settings.as_input(pixels) for pixels, _ in trials]
    outputs, measured = check.run_in_clean_process(path, batches, threads)
    compared = [
        check.compare(
            found,
            reference_outputs(model, settings.as_float(pixels), settings.output),
            settings,
            right,
        )
        for found, (pixels, right) in zip(outputs, trials, strict=True)
    ]
    problem = next((found["problem"] for found in compared if found["problem"]), None)
    return check.Report(
        artefact=str(path),
        format=format,
        precision=settings.precision,
        **{**compared[-1], "problem": problem},
        num_bytes=check.size_of(path),
        threads=threads,
        **measured,
    )
