import sys

import numpy as np
import pytest

from keras_convnextv2.analysis.logistic_regression import (
    DINOV3_C,
    held_out,
    logistic_probe,
)

pytestmark = pytest.mark.one_backend


@pytest.fixture
def images(rng):
    """Train, validation and test features of four classes that overlap."""

    def draw(count):
        labels = np.arange(count) % 4
        shift = np.random.default_rng(7).normal(size=(4, 6))
        features = rng.normal(size=(count, 6)) + shift[labels]
        return (features * 5 + 30).astype("float32"), labels

    return draw(160), draw(80), draw(120)


def by_scikit_learn(train, test, c):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))
    return model.fit(train[0].astype("float64"), train[1]).score(test[0].astype("float64"), test[1])


def test_it_is_what_scikit_learn_says(images):
    train, validation, test = images
    sweep = (1e-4, 1e-2, 1.0, 100.0)
    result = logistic_probe(train, test, validation, sweep)
    on_validation = {c: by_scikit_learn(train, validation, c) for c in sweep}
    best = max(on_validation, key=on_validation.get)
    assert result.settings["C"] == best
    assert result.settings["accuracy_there"] == on_validation[best]
    both = tuple(np.concatenate(parts) for parts in zip(train, validation, strict=True))
    assert result.mean() == by_scikit_learn(both, test, best)
    assert result.settings["fitted_on"] == 240 and result.settings["fits_not_converged"] == 0
    assert len(set(on_validation.values())) > 1  # or the choice would be nothing


def test_the_test_images_choose_nothing(images):
    train, validation, (features, labels) = images
    result = logistic_probe(train, (features, labels), validation)
    mixed = logistic_probe(train, (features, np.roll(labels, 1)), validation)
    assert mixed.settings == result.settings
    assert mixed.mean() < result.mean()


def test_without_validation_images_a_part_of_each_class_is_held_out(images):
    train, _, test = images
    chosen = held_out(train[1], 0.1, seed=3)
    assert np.bincount(train[1][chosen]).tolist() == [4, 4, 4, 4]  # of 40 each
    pairs = [(train[0][which], train[1][which]) for which in (~chosen, chosen)]
    expected = logistic_probe(pairs[0], test, pairs[1])
    result = logistic_probe(train, test, seed=3)
    assert result.mean() == expected.mean() and result.settings["C"] == expected.settings["C"]
    assert result.settings["chosen_on"] == "10% of train, seed 3"
    # Of few images one is held out at least, and one is left to learn from.
    small = np.array([0, 0, 1, 2, 2, 2])
    assert np.bincount(small[held_out(small, 0.1, 0)], minlength=3).tolist() == [1, 0, 1]


def test_fits_that_did_not_end_are_counted(images):
    train, validation, test = images
    result = logistic_probe(train, test, validation, (1.0, 10.0), max_iterations=1)
    assert result.settings["fits_not_converged"] == 3  # two of the sweep and the last


def test_the_sweep_of_dinov3_has_45_values_from_1e_minus_6_to_1e5():
    assert len(DINOV3_C) == 45
    np.testing.assert_allclose([DINOV3_C[0], DINOV3_C[4], DINOV3_C[-1]], [1e-6, 1e-5, 1e5])


def test_values_that_are_refused(images):
    train, _, test = images
    with pytest.raises(ValueError, match="positive"):
        logistic_probe(train, test, values_of_c=(1.0, -1.0))
    with pytest.raises(ValueError, match=r"in \(0, 1\). Received: 1"):
        logistic_probe(train, test, validation_fraction=1)
    with pytest.raises(ValueError, match=r"1 class\(es\)"):
        logistic_probe((train[0], train[1] * 0), test)


def test_a_missing_scikit_learn_names_the_extra(images, monkeypatch):
    train, _, test = images
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)  # as where it is not installed
    with pytest.raises(ModuleNotFoundError, match=r"keras-convnextv2\[probe\]"):
        logistic_probe(train, test)
