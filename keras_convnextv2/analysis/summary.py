"""The figures of a classifier, all together."""

from keras_convnextv2.analysis.calibration import (
    brier_score,
    negative_log_likelihood,
    reliability,
)
from keras_convnextv2.analysis.classification import (
    class_scores,
    confusion_matrix,
    top_k_accuracy,
)
from keras_convnextv2.analysis.labels import checked_pair
from keras_convnextv2.analysis.multi_label import (
    mean_average_precision,
    micro_f1,
    multi_label_class_scores,
)


def classification_summary(probabilities, labels, top_k=5):
    """What is to be said of a classifier in a few numbers.

    Args:
        probabilities: (N, K).
        labels: int (N,), or (N, K) of 0 and 1.
        top_k: int, of the accuracy among the first k; left out where there are no more classes.

    Returns:
        {name: float}: accuracy, top_<k>_accuracy, balanced_accuracy and macro_f1; of several labels
        mean_average_precision, macro_f1 and micro_f1 (labels given above .5); of both
        negative_log_likelihood, brier_score and expected_calibration_error.

    Examples:
        >>> from keras_convnextv2.analysis import classification_summary
        >>> found = classification_summary([[0.9, 0.1], [0.6, 0.4]], [0, 1])
        >>> list(found)[:3], found["accuracy"]
        (['accuracy', 'balanced_accuracy', 'macro_f1'], 0.5)
    """
    probabilities, labels, several = checked_pair(probabilities, labels)
    scores = scores_of(probabilities, labels)
    if several:
        figures = {
            "mean_average_precision": mean_average_precision(probabilities, labels),
            "macro_f1": scores.macro_f1,
            "micro_f1": micro_f1(scores),
        }
    else:
        figures = {"accuracy": top_k_accuracy(probabilities, labels, 1)}
        if top_k < probabilities.shape[1]:
            figures[f"top_{top_k}_accuracy"] = top_k_accuracy(probabilities, labels, top_k)
        figures |= {
            "balanced_accuracy": scores.balanced_accuracy,
            "macro_f1": scores.macro_f1,
        }
    return figures | {
        "negative_log_likelihood": negative_log_likelihood(probabilities, labels),
        "brier_score": brier_score(probabilities, labels),
        "expected_calibration_error": reliability(probabilities, labels).expected_error,
    }


def scores_of(probabilities, labels):
    """The `ClassScores` of first classes, or of several labels, whichever `labels` are.

    Args:
        probabilities, labels: as in `classification_summary`.
    """
    probabilities, labels, several = checked_pair(probabilities, labels)
    if several:
        return multi_label_class_scores(probabilities, labels)
    return class_scores(confusion_matrix(probabilities.argmax(1), labels, probabilities.shape[1]))
