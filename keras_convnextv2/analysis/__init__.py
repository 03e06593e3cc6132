"""Looking at what a model has learned."""

from keras_convnextv2.analysis.block_features import BlockFeatures
from keras_convnextv2.analysis.calibration import (
    Reliability,
    brier_score,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)
from keras_convnextv2.analysis.channel_distance import (
    channel_cosine_distance,
    shuffled_cosine_distance,
)
from keras_convnextv2.analysis.channel_picture import save_channel_maps
from keras_convnextv2.analysis.classification import (
    ClassScores,
    class_scores,
    confusion_matrix,
    top_k_accuracy,
)
from keras_convnextv2.analysis.collapse import collapse_by_block
from keras_convnextv2.analysis.collapse_deviation import collapse_deviation
from keras_convnextv2.analysis.confusion_picture import save_confusion_matrix
from keras_convnextv2.analysis.correlation import correlation
from keras_convnextv2.analysis.curves import DrawCurves, draw_curves
from keras_convnextv2.analysis.distance_picture import save_distance_curves
from keras_convnextv2.analysis.feature_cache import cached_features, source_identity
from keras_convnextv2.analysis.feature_subsets import (
    channel_subset_probe,
    principal_component_probe,
)
from keras_convnextv2.analysis.features import Features, compute_features, feature_model
from keras_convnextv2.analysis.kernel_alignment import linear_cka
from keras_convnextv2.analysis.label_fraction import label_fraction
from keras_convnextv2.analysis.lars import LarsSettings, lars_probe
from keras_convnextv2.analysis.lidar import lidar
from keras_convnextv2.analysis.logistic_regression import logistic_probe
from keras_convnextv2.analysis.mean_ablation import Ablation, MeanAblation
from keras_convnextv2.analysis.multi_label import (
    average_precisions,
    mean_average_precision,
    micro_f1,
    multi_label_class_scores,
)
from keras_convnextv2.analysis.nearest_neighbours import knn_probe
from keras_convnextv2.analysis.predictions import Predictions, predict_labelled, with_flips
from keras_convnextv2.analysis.probes import ProbeResult
from keras_convnextv2.analysis.reconstruction_frames import (
    WriteReconstructions,
    save_reconstruction_animation,
)
from keras_convnextv2.analysis.reliability_diagram import save_reliability_diagram
from keras_convnextv2.analysis.removal_order import removal_order
from keras_convnextv2.analysis.representation_measures import representation_measures
from keras_convnextv2.analysis.ridge import few_shot_probe, ridge_probe
from keras_convnextv2.analysis.ridge_sweep import tuned_ridge_probe
from keras_convnextv2.analysis.spectrum import alpha_req, participation_ratio, rankme
from keras_convnextv2.analysis.summary import classification_summary
from keras_convnextv2.analysis.watch_collapse import WatchCollapse
from keras_convnextv2.analysis.watch_probes import WatchProbes
from keras_convnextv2.analysis.worst_mistakes import Mistake, save_worst_mistakes, worst_mistakes

__all__ = [
    "Ablation",
    "MeanAblation",
    "channel_subset_probe",
    "label_fraction",
    "principal_component_probe",
    "removal_order",
    "tuned_ridge_probe",
    "BlockFeatures",
    "WatchCollapse",
    "channel_cosine_distance",
    "shuffled_cosine_distance",
    "save_channel_maps",
    "collapse_by_block",
    "collapse_deviation",
    "representation_measures",
    "save_distance_curves",
    "linear_cka",
    "lidar",
    "alpha_req",
    "participation_ratio",
    "rankme",
    "ClassScores",
    "DrawCurves",
    "Features",
    "LarsSettings",
    "Mistake",
    "Predictions",
    "ProbeResult",
    "Reliability",
    "WatchProbes",
    "WriteReconstructions",
    "average_precisions",
    "brier_score",
    "cached_features",
    "class_scores",
    "classification_summary",
    "compute_features",
    "confusion_matrix",
    "correlation",
    "draw_curves",
    "feature_model",
    "few_shot_probe",
    "fit_temperature",
    "knn_probe",
    "lars_probe",
    "logistic_probe",
    "mean_average_precision",
    "micro_f1",
    "multi_label_class_scores",
    "negative_log_likelihood",
    "predict_labelled",
    "reliability",
    "ridge_probe",
    "save_confusion_matrix",
    "save_reconstruction_animation",
    "save_reliability_diagram",
    "save_worst_mistakes",
    "source_identity",
    "top_k_accuracy",
    "with_flips",
    "worst_mistakes",
]
