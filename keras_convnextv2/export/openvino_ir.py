"""OpenVINO's intermediate representation, converted by OpenVINO from our ONNX graph."""

import json
import tempfile
from pathlib import Path

from keras_convnextv2.export import onnx_graph
from keras_convnextv2.export.runtimes import METADATA_KEY


def write(network, path, settings):
    """Writes an `.xml` file and its weights in a `.bin` file beside it.

    Args:
        network: a `Network` in the terms of the artefact's input.
        path: str or Path.
        settings: the artefact's `Settings`.

    Raises:
        ModuleNotFoundError: a package, openvino or onnx, is not installed.
    """
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "model.onnx")
        onnx_graph.write(network, source, settings)
        model = openvino.convert_model(source)
        model.set_rt_info(json.dumps(settings.metadata(network)), ["model_info", METADATA_KEY])
        if settings.class_names is not None:  # where OpenVINO's own tools look for them
            names = " ".join(name.replace(" ", "_") for name in settings.class_names)
            model.set_rt_info(names, ["model_info", "labels"])
        openvino.save_model(model, path, compress_to_fp16=settings.precision == "float16")
