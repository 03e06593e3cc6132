"""The weights of classes, and the loss that they weigh."""

import keras
import numpy as np
import pytest
from scipy import special
from sklearn.utils.class_weight import compute_class_weight

from keras_convnextv2.training.class_weights import class_weights
from keras_convnextv2.training.classification_loss import classification_loss


@pytest.mark.one_backend
def test_balanced_weights_are_scikit_learns(rng):
    labels = rng.choice(6, size=200, p=[0.5, 0.2, 0.0, 0.2, 0.1, 0.0])
    occurring = np.unique(labels)
    expected = compute_class_weight("balanced", classes=occurring, y=labels)
    found = class_weights(labels, num_classes=6)
    assert list(found) == list(range(6))
    np.testing.assert_allclose([found[place] for place in occurring], expected, rtol=1e-12)
    assert found[2] == found[5] == 1  # of no images
    # An image counts 1 on average.
    assert np.mean([found[label] for label in labels]) == pytest.approx(1)


@pytest.mark.one_backend
def test_weights_are_given_by_name_by_place_or_in_order():
    labels, names = [0, 1, 1, 2], ("ant", "bee", "cat")
    assert class_weights(labels, "none", names) == {0: 1.0, 1: 1.0, 2: 1.0}
    assert class_weights(labels, {"bee": 2.5, 2: 0}, names) == {0: 1.0, 1: 2.5, 2: 0.0}
    assert class_weights(labels, [3, 2, 1]) == {0: 3.0, 1: 2.0, 2: 1.0}


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("labels", "weights", "message"),
    [
        ([[0, 1]], "balanced", r"one label an image.*\(1, 2\)"),
        ([], "balanced", "one label an image"),
        ([0.0, 1.0], "balanced", "float64"),
        ([0, 5], "balanced", "0 to 2.*0 to 5"),
        ([0, 1], "balance", "'balanced', 'none' or numbers.*'balance'"),
        ([0, 1], {"bea": 1}, "no class 'bea'.*'ant', 'bee', 'cat'"),
        ([0, 1], {3: 1}, "no class 3"),
        ([0, 1], [1, 2], "3 classes.*2 class weights"),
        ([0, 1], [1, -2, 1], "finite number of 0 or more"),
        ([0, 1], [1, "2", 1], "finite number of 0 or more"),
        ([0, 1], [0, 0, 0], "nothing to learn"),
    ],
)
def test_what_is_no_weights_is_refused(labels, weights, message):
    with pytest.raises(ValueError, match=message):
        class_weights(labels, weights, ("ant", "bee", "cat"))


def test_a_fit_takes_the_weights(rng):
    """Keras's loss under `class_weight` is the mean of each image's loss times its weight."""
    images, labels = rng.normal(size=(6, 4)).astype("float32"), np.array([0, 0, 0, 0, 1, 2])
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    weights = class_weights(labels)
    logits = model.predict(images, verbose=0)
    own = -special.log_softmax(logits, 1)[np.arange(6), labels]
    expected = np.mean(own * [weights[label] for label in labels])
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss=classification_loss())
    history = model.fit(images, labels, batch_size=6, class_weight=weights, verbose=0)
    np.testing.assert_allclose(history.history["loss"], [expected], rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_of_one_label_of_soft_labels_or_of_several(smoothing, rng):
    logits = rng.normal(size=(5, 4)).astype("float32")
    labels = rng.integers(0, 4, 5)
    rows = np.eye(4)[labels]
    smooth = rows * (1 - smoothing) + smoothing / 4
    expected = -(smooth * special.log_softmax(logits, 1)).sum(1).mean()
    losses = {"soft": (classification_loss(False, smoothing, soft_labels=True), rows)}
    losses["by default"] = (classification_loss(False, smoothing), rows if smoothing else labels)
    for name, (loss, given) in losses.items():
        found = keras.ops.convert_to_numpy(loss(given, logits))
        np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=name)
    smooth = rows * (1 - smoothing) + smoothing / 2  # between yes and no
    expected = -(
        smooth * special.log_expit(logits) + (1 - smooth) * special.log_expit(-logits)
    ).mean()
    found = keras.ops.convert_to_numpy(classification_loss(True, smoothing)(rows, logits))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.one_backend
@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_that_is_none_is_refused(smoothing):
    with pytest.raises(ValueError, match=f"less than 1. Received: {smoothing}"):
        classification_loss(label_smoothing=smoothing)
