"""Models as artefacts of other runtimes: SavedModel, LiteRT, ONNX, OpenVINO, PyTorch's .pt2."""

from keras_convnextv2.export.artefact import FORMATS, export_model
from keras_convnextv2.export.check import Report
from keras_convnextv2.export.errors import ExportError
from keras_convnextv2.export.runtimes import open_artefact

__all__ = ["FORMATS", "ExportError", "Report", "export_model", "open_artefact"]
