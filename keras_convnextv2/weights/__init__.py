"""Weights from elsewhere and for elsewhere: formats, safe reading, transfer, presets."""

from keras_convnextv2.weights.building import from_preset
from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.presets import PRESETS, Preset
from keras_convnextv2.weights.transfer import LoadReport, load_weights, save_weights

__all__ = [
    "PRESETS",
    "LoadReport",
    "Preset",
    "WeightsError",
    "from_preset",
    "load_weights",
    "save_weights",
]
