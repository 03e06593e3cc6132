"""The figures of a classifier are scikit-learn's, with classes that never occur or are never said.

Both compute in float64: they differ by the rounding of sums of at most 400 terms.
"""

import numpy as np
import pytest
from sklearn import metrics

from keras_convnextv2 import analysis

pytestmark = pytest.mark.one_backend
NUM_CLASSES = 7
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def cases():
    """(probabilities, labels) of one label an image."""
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.full(NUM_CLASSES, 0.5), 400)
    labels = np.where(
        generator.random(400) < 0.6,
        probabilities.argmax(1),
        generator.integers(0, NUM_CLASSES, 400),
    )
    never_occurs = np.where(np.isin(labels, (0, 6)), 2, labels)
    never_said = probabilities.copy()
    never_said[:, [3, 6]] *= 1e-6
    never_said /= never_said.sum(1, keepdims=True)
    return {
        "all classes": (probabilities, labels),
        "two never occur": (probabilities, never_occurs),
        "two are never said": (never_said, labels),
        "one neither occurs nor is said": (never_said, never_occurs),
        "one class alone": (probabilities, np.full(400, 2)),
        "one image": (probabilities[:1], labels[:1]),
    }


@pytest.fixture(params=cases(), ids=str)
def case(request):
    return cases()[request.param]


@pytest.mark.filterwarnings("ignore:A single label was found")
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_one_label_an_image_is_scored_as_scikit_learn_does(case):
    probabilities, labels = case
    said = probabilities.argmax(1)
    every_class = range(NUM_CLASSES)
    confusion = analysis.confusion_matrix(said, labels, NUM_CLASSES)
    expected = metrics.confusion_matrix(labels, said, labels=every_class)
    np.testing.assert_array_equal(confusion, expected)
    scores = analysis.class_scores(confusion)
    expected = metrics.precision_recall_fscore_support(
        labels, said, labels=every_class, zero_division=0
    )
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose(getattr(scores, name), values, **EXACT, err_msg=name)
    np.testing.assert_array_equal(scores.predicted, np.bincount(said, minlength=NUM_CLASSES))
    found = analysis.classification_summary(probabilities, labels, top_k=3)
    wanted = {
        "accuracy": metrics.accuracy_score(labels, said),
        "top_3_accuracy": metrics.top_k_accuracy_score(
            labels, probabilities, k=3, labels=every_class
        ),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, said),
        "macro_f1": metrics.f1_score(labels, said, average="macro"),
        "negative_log_likelihood": metrics.log_loss(labels, probabilities, labels=every_class),
        "brier_score": metrics.brier_score_loss(labels, probabilities, labels=every_class),
    }
    assert list(found) == [*wanted, "expected_calibration_error"]
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, **EXACT, err_msg=name)


@pytest.mark.parametrize("missing", [(), (1,)], ids=["all classes", "one occurs in no image"])
@pytest.mark.parametrize("unsaid", [(), (1,), (2,)], ids=["all said", "the same unsaid", "another"])
def test_several_labels_an_image_are_scored_as_scikit_learn_does(missing, unsaid):
    generator = np.random.default_rng(1)
    probabilities = np.round(generator.random((300, 5)), 2)  # so that some are equal
    labels = (generator.random((300, 5)) < 0.2 + 0.6 * probabilities).astype("float32")
    labels[:, list(missing)] = 0
    probabilities[:, list(unsaid)] *= 0.5  # .5 is not above .5
    given = probabilities > 0.5
    scores = analysis.multi_label_class_scores(probabilities, labels)
    expected = metrics.precision_recall_fscore_support(labels, given, zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose(getattr(scores, name), values, **EXACT, err_msg=name)
    occurring = [place for place in range(5) if place not in missing]
    told = [place for place in range(5) if place not in missing or place not in unsaid]
    precisions = metrics.average_precision_score(
        labels[:, occurring], probabilities[:, occurring], average=None
    )
    found = analysis.average_precisions(probabilities, labels)
    np.testing.assert_allclose(found[occurring], precisions, **EXACT)
    assert np.isnan(found[list(missing)]).all()
    figures = analysis.classification_summary(probabilities, labels)
    wanted = {
        "mean_average_precision": precisions.mean(),
        "macro_f1": metrics.f1_score(labels, given, labels=told, average="macro", zero_division=0),
        "micro_f1": metrics.f1_score(labels, given, average="micro"),
        "brier_score": np.mean(
            [
                metrics.brier_score_loss(labels[:, place], probabilities[:, place], pos_label=1)
                for place in occurring
            ]
            + [np.mean(probabilities[:, place] ** 2) for place in missing]
        ),
    }
    for name, value in wanted.items():
        np.testing.assert_allclose(figures[name], value, **EXACT, err_msg=name)


def test_without_any_label_and_without_any_said_nothing_is_divided_by_zero():
    figures = analysis.classification_summary(np.full((3, 2), 0.4), np.zeros((3, 2)))
    assert figures["mean_average_precision"] == figures["macro_f1"] == figures["micro_f1"] == 0


def test_of_equal_probabilities_the_smaller_class_comes_first_as_in_argmax():
    probabilities = np.full((4, 4), 0.25)
    found = [analysis.top_k_accuracy(probabilities, [0, 1, 2, 3], k) for k in (1, 2, 3, 4)]
    assert found == [0.25, 0.5, 0.75, 1.0]


def test_the_expected_calibration_error_is_the_gap_of_each_bin_by_its_share():
    # In fifteen bins: five at .9 of which three are right, four at .55 of which one is, one at 1.
    confidences = np.array([0.9] * 5 + [0.55] * 4 + [1.0])
    labels = np.array([0, 0, 0, 1, 1, 0, 1, 1, 1, 0])
    probabilities = np.stack([confidences, 1 - confidences], 1)
    found = analysis.reliability(probabilities, labels)
    filled = {place: int(count) for place, count in enumerate(found.count) if count}
    assert filled == {8: 4, 13: 5, 14: 1} and len(found.count) == 15
    expected = 0.4 * abs(0.55 - 0.25) + 0.5 * abs(0.9 - 0.6) + 0.1 * abs(1 - 1)
    np.testing.assert_allclose(found.expected_error, expected, **EXACT)
    # Of several labels each class is a decision, as sure as the probability of the label.
    both = analysis.reliability(probabilities, np.stack([labels == 0, labels == 1], 1))
    assert both.count.sum() == 20
    np.testing.assert_allclose(both.expected_error, expected, **EXACT)


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.zeros(3), [0, 1, 2], r"\(N, num_classes\).*\(3,\)"),
        (np.zeros((0, 3)), np.zeros(0, int), "at least one"),
        (np.array([[0.5, np.nan]]), [0], "not finite"),
        (np.zeros((2, 3)), [0, 3], "0 to 2.*0 to 3"),
        (np.zeros((2, 3)), [-1, 0], "0 to 2.*-1 to 0"),
        (np.zeros((2, 3)), [0.0, 1.0], r"ints \(2,\).*float64 \(2,\)"),
        (np.zeros((2, 3)), [0, 1, 2], r"ints \(2,\).*\(3,\)"),
        (np.zeros((2, 3)), np.full((2, 3), 0.5), "0 or 1 each"),
    ],
)
def test_what_does_not_go_together_is_refused(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        analysis.classification_summary(probabilities, labels)
