"""Models for other runtimes (SavedModel, LiteRT, ONNX, OpenVINO, .pt2) and other libraries."""

from keras_convnextv2.export.artefact import export_model
from keras_convnextv2.export.check import Report
from keras_convnextv2.export.errors import ExportError
from keras_convnextv2.export.formats import FORMATS
from keras_convnextv2.export.keras_hub_backbone import to_keras_hub
from keras_convnextv2.export.runtimes import open_artefact
from keras_convnextv2.export.tf_keras_model import to_tf_keras
from keras_convnextv2.export.tf_keras_saved_model import saved_model_layer

__all__ = [
    "FORMATS",
    "ExportError",
    "Report",
    "export_model",
    "open_artefact",
    "saved_model_layer",
    "to_keras_hub",
    "to_tf_keras",
]
