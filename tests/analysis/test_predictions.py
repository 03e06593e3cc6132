"""The probabilities of labelled images, batch by batch, also with their mirror images."""

import weakref

import numpy as np
import pytest
from scipy import special

import keras_convnextv2 as kc
from keras_convnextv2 import analysis
from tests.reference.small_files import small_classifier


@pytest.fixture
def batches(rng):
    images = rng.normal(size=(7, 8, 16, 3)).astype("float32")
    labels = rng.integers(0, 3, 7)
    return [(images[start : start + 3], labels[start : start + 3]) for start in (0, 3, 6)]


@pytest.mark.parametrize("flips", [pytest.param(False, marks=pytest.mark.one_backend), True])
def test_probabilities_are_those_of_the_model_and_with_flips_the_mean_of_both_views(
    flips, batches, rng
):
    classifier = small_classifier(rng)
    classifier.temperature = 2.5
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    views = [images, images[:, :, ::-1]] if flips else [images]
    logits = [classifier.predict(view, verbose=0).astype("float64") for view in views]
    found = analysis.predict_labelled(classifier, batches, flips=flips)
    assert not flips or np.abs(logits[0] - logits[1]).max() > 0.01
    np.testing.assert_array_equal(found.labels, labels)
    # Other batch sizes round the float32 logits differently.
    expected = np.mean([special.softmax(view / 2.5, 1) for view in logits], 0)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    before = np.mean([special.softmax(view, 1) for view in logits], 0)
    expected = -np.log(before[np.arange(7), labels]).mean()
    np.testing.assert_allclose(found.loss, expected, rtol=1e-5)


@pytest.mark.one_backend
def test_images_are_let_go_batch_by_batch(rng):
    classifier, seen = small_classifier(rng), []

    def each():
        for _ in range(6):
            images = rng.normal(size=(2, 8, 16, 3)).astype("float32")
            alive = sum(reference() is not None for reference in seen)
            assert alive <= 1  # the one before, until it is replaced
            seen.append(weakref.ref(images))
            yield images, rng.integers(0, 3, 2)

    assert analysis.predict_labelled(classifier, each(), flips=True).probabilities.shape == (12, 3)


def test_several_labels_an_image(batches, rng):
    one_label = small_classifier(rng)
    classifier = kc.ConvNeXtV2Classifier(one_label.backbone, 3, multi_label=True)
    classifier.set_weights(one_label.get_weights())
    images, labels = batches[0]
    rows = np.eye(3)[labels]
    logits = classifier.predict(images, verbose=0)
    for given in (labels, rows):  # one label an image is a row of one, too
        found = analysis.predict_labelled(classifier, [(images, given)])
        np.testing.assert_array_equal(found.labels, rows)
        np.testing.assert_allclose(found.probabilities, special.expit(logits), atol=1e-5)
        expected = -special.log_expit(np.where(rows, logits, -logits)).mean()
        np.testing.assert_allclose(found.loss, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="exclude one another.*multi_label=True"):
        analysis.predict_labelled(one_label, [(images, rows)])
