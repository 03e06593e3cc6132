"""The formats of artefacts: their names, the packages they need, and who writes them."""

import importlib.util
from pathlib import Path

from keras_convnextv2.export import isolated, litert, litert_quantization, onnx_graph, openvino_ir
from keras_convnextv2.export.errors import ExportError
from keras_convnextv2.export.runtimes import SUFFIXES

FORMATS = {
    "saved_model": ("tensorflow",),
    "litert": ("ai_edge_litert",),
    "onnx": ("onnx", "onnxruntime"),
    "openvino": ("openvino", "onnx"),
    "torch": ("torch",),
    "keras": (),
}
"""The formats of artefacts, and the packages that writing and trying each needs.

Examples:
    >>> from keras_convnextv2.export import FORMATS
    >>> FORMATS["onnx"]
    ('onnx', 'onnxruntime')
"""
ENDINGS = {**SUFFIXES, "keras": ".keras"}  # none: a SavedModel's folder
_EXTRAS = {"saved_model": "tensorflow"}  # where the extra is not named like the format


def format_of(path):
    """The format that the ending of a path names.

    Raises:
        ExportError: an ending of no format.
    """
    suffix = Path(path).suffix
    if suffix == "":
        return "saved_model"
    for kind, ending in ENDINGS.items():
        if suffix == ending:
            return kind
    raise ExportError(
        f"The ending of {path} names no format; they are {', '.join(ENDINGS.values())}, and none "
        "for a SavedModel's folder."
    )


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
