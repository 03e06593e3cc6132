"""Looking at what a model has learned."""

from keras_convnextv2.analysis.curves import DrawCurves, draw_curves
from keras_convnextv2.analysis.feature_cache import cached_features, source_identity
from keras_convnextv2.analysis.features import Features, compute_features, feature_model
from keras_convnextv2.analysis.lars import LarsSettings, lars_probe
from keras_convnextv2.analysis.logistic_regression import logistic_probe
from keras_convnextv2.analysis.nearest_neighbours import knn_probe
from keras_convnextv2.analysis.probes import ProbeResult
from keras_convnextv2.analysis.ridge import few_shot_probe, ridge_probe
from keras_convnextv2.analysis.watch_probes import WatchProbes

__all__ = [
    "DrawCurves",
    "Features",
    "LarsSettings",
    "ProbeResult",
    "WatchProbes",
    "cached_features",
    "compute_features",
    "draw_curves",
    "feature_model",
    "few_shot_probe",
    "knn_probe",
    "lars_probe",
    "logistic_probe",
    "ridge_probe",
    "source_identity",
]
