"""Looking at what a model has learned."""

from keras_convnextv2.analysis.calibration import (
    Reliability,
    brier_score,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)
from keras_convnextv2.analysis.classification import (
    ClassScores,
    class_scores,
    confusion_matrix,
    top_k_accuracy,
)
from keras_convnextv2.analysis.confusion_picture import save_confusion_matrix
from keras_convnextv2.analysis.multi_label import (
    average_precisions,
    mean_average_precision,
    micro_f1,
    multi_label_class_scores,
)
from keras_convnextv2.analysis.predictions import Predictions, predict_labelled, with_flips
from keras_convnextv2.analysis.reliability_diagram import save_reliability_diagram
from keras_convnextv2.analysis.summary import classification_summary
from keras_convnextv2.analysis.worst_mistakes import Mistake, save_worst_mistakes, worst_mistakes

__all__ = [
    "ClassScores",
    "Mistake",
    "Predictions",
    "Reliability",
    "average_precisions",
    "brier_score",
    "class_scores",
    "classification_summary",
    "confusion_matrix",
    "fit_temperature",
    "mean_average_precision",
    "micro_f1",
    "multi_label_class_scores",
    "negative_log_likelihood",
    "predict_labelled",
    "reliability",
    "save_confusion_matrix",
    "save_reliability_diagram",
    "save_worst_mistakes",
    "top_k_accuracy",
    "with_flips",
    "worst_mistakes",
]
