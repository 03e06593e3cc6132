"""Probes of a part of the features, against closed forms and scikit-learn."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from keras_convnextv2.analysis import (
    channel_subset_probe,
    label_fraction,
    principal_component_probe,
    ridge_probe,
    tuned_ridge_probe,
)
from keras_convnextv2.analysis.logistic_regression import held_out
from keras_convnextv2.analysis.ridge import ridge_scores

pytestmark = pytest.mark.one_backend


def halves(features, labels):
    middle = len(labels) // 2
    return (features[:middle], labels[:middle]), (features[middle:], labels[middle:])


@pytest.fixture
def one_channel_tells(rng):
    """Ten channels; the labels, 0 and 1, are those of channel 7 alone."""
    labels = np.arange(400) % 2
    features = rng.normal(size=(400, 10))
    features[:, 7] = 2.0 * labels - 1
    return halves(features, labels)


@pytest.fixture
def noisy(rng):
    """Three classes of twelve channels of unequal sizes, which can be told apart in part."""
    labels = rng.integers(0, 3, 300)
    features = rng.normal(size=(300, 12)) + 1.5 * np.eye(12)[labels]
    return halves(features * np.geomspace(0.1, 10, 12), labels)


def test_a_subset_tells_the_labels_where_it_holds_the_channel_that_does(one_channel_tells):
    result = channel_subset_probe(*one_channel_tells, fractions=(0.3, 1.0), num_draws=8, seed=2)
    holds = [7 in np.random.default_rng([2, draw]).permutation(10)[:3] for draw in range(8)]
    assert {True, False} == set(holds)
    for right, holds_it in zip(result.accuracies["30%"], holds, strict=True):
        assert right == 1.0 if holds_it else 0.3 < right < 0.7  # 200 images: 4 deviations
    assert result.accuracies["100%"] == (1.0,)
    assert result.settings["channels"] == {"30%": 3, "100%": 10}


def test_all_channels_are_the_probe_of_them(noisy):
    all_channels = channel_subset_probe(*noisy, fractions=(1,)).accuracies["100%"]
    assert all_channels == tuned_ridge_probe(*noisy).accuracies["accuracy"]
    one = channel_subset_probe(*noisy, fractions=(0.01,), num_draws=2)
    assert one.settings["channels"] == {"1%": 1}


def test_the_same_seed_draws_the_same_channels_and_another_others(noisy):
    first, same, other = (
        channel_subset_probe(*noisy, fractions=(0.2,), seed=seed).accuracies for seed in (0, 0, 1)
    )
    assert first == same != other


def test_the_penalty_is_the_best_on_what_is_held_out_and_the_fit_scikit_learn_s(noisy):
    (x, y), (x_test, y_test) = noisy
    result = tuned_ridge_probe(*noisy, values_of_l2=(1e-2, 1.0, 1e2, 1e4), seed=3)
    mean, std = x.mean(axis=0), x.std(axis=0) + 1e-5
    with_bias = [
        np.hstack([(features - mean) / std, np.full((len(features), 1), 100.0)])
        for features in (x, x_test)
    ]
    held = held_out(y, 0.2, 3)

    def accuracy(l2, fit, labels, tested, right):
        ridge = Ridge(alpha=l2, fit_intercept=False).fit(fit, 2.0 * np.eye(3)[labels] - 1)
        return np.mean(ridge.predict(tested).argmax(axis=1) == right)

    tried = {
        l2: accuracy(l2, with_bias[0][~held], y[~held], with_bias[0][held], y[held])
        for l2 in (1e4, 1e2, 1.0, 1e-2)
    }
    best = max(tried, key=tried.get)
    assert result.settings["lambda"] == best
    assert result.mean() == accuracy(best, with_bias[0], y, with_bias[1], y_test)


@pytest.mark.parametrize("num_images", [150, 9], ids=["more_images", "more_features"])
def test_one_penalty_alone_is_the_plain_probe(noisy, num_images):
    (x, y), test = noisy
    train = x[:num_images], y[:num_images]
    tuned = tuned_ridge_probe(train, test, values_of_l2=(64.0,))
    assert tuned.mean() == ridge_probe(train, test, l2=64.0).mean()
    scores = ridge_scores(*train, test[0].astype("float32"), 3, 64.0)
    assert tuned.mean() == np.mean(scores.argmax(axis=1) == test[1])


def test_one_image_a_class_leaves_the_penalty_as_it_is(noisy):
    (x, y), test = noisy
    one_each = np.array([np.flatnonzero(y == label)[0] for label in range(3)])
    result = tuned_ridge_probe((x[one_each], y[one_each]), test)
    assert result.settings["lambda"] == 1024 and "no class" in result.settings["chosen_on"]
    assert result.mean() == ridge_probe((x[one_each], y[one_each]), test).mean()


def test_all_components_and_all_rotated_axes_are_the_same_probe(noisy):
    result = principal_component_probe(*noisy, counts=(12,), num_draws=3)
    plain = tuned_ridge_probe(*noisy).mean()
    assert result.accuracies == {"12 components": (plain,), "12 rotated": (plain,) * 3}


def test_the_components_are_scikit_learn_s(noisy):
    (x, y), (x_test, y_test) = noisy
    mean, std = x.mean(axis=0), x.std(axis=0) + 1e-5
    standardised = [(features - mean) / std for features in (x, x_test)]
    pca = PCA(4).fit(standardised[0])
    reduced = [pca.transform(features) for features in standardised]
    found = principal_component_probe(*noisy, counts=(4,), num_draws=1).mean("4 components")
    # A rotation that is not scaled: the probe that standardises nothing.
    from keras_convnextv2.analysis.ridge_sweep import fitted

    assert found == fitted((reduced[0], y), (reduced[1], y_test))[0]


def test_labels_along_the_widest_direction_are_in_one_component_and_not_in_one_random_axis(rng):
    labels = np.arange(600) % 2
    signal = 2.0 * labels - 1
    # 32 channels share the label's direction: the first component is it, a random axis is not.
    features = signal[:, None] + rng.normal(size=(600, 32))
    result = principal_component_probe(*halves(features, labels), counts=(1,), num_draws=20)
    assert result.mean("1 components") == 1.0
    assert result.mean("1 rotated") < 0.95 and result.deviation("1 rotated") > 0


def test_a_basis_says_the_components_of_few_labelled_images(noisy):
    (x, y), test = noisy
    few = x[:6], y[:6]
    with_basis = principal_component_probe(few, test, counts=(2,), basis=x)
    without = principal_component_probe(few, test, counts=(2,))
    assert with_basis.settings["basis_images"] == 150 and without.settings["basis_images"] == 6
    assert with_basis.accuracies != without.accuracies


def test_label_fractions_are_stratified_and_one_a_class_at_least():
    labels = np.random.default_rng(0).permutation(np.repeat(range(4), (200, 50, 10, 3)))
    for fraction, counts in ((0.01, (2, 1, 1, 1)), (0.1, (20, 5, 1, 1)), (1, (200, 50, 10, 3))):
        chosen = label_fraction(labels, fraction, seed=1)
        assert tuple(np.bincount(labels[chosen])) == counts
        assert (np.diff(chosen) > 0).all()
        np.testing.assert_array_equal(chosen, label_fraction(labels, fraction, seed=1))
    assert not np.array_equal(label_fraction(labels, 0.1, 1), label_fraction(labels, 0.1, 2))
    assert set(label_fraction(labels, 0.01, 1)) <= set(label_fraction(labels, 0.1, 1))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda pair: channel_subset_probe(pair, pair, fractions=(0, 1)), "above 0.*0, 1"),
        (lambda pair: channel_subset_probe(pair, pair, fractions=()), "above 0"),
        (lambda pair: channel_subset_probe(pair, pair, num_draws=0), "1 or more. Received: 0"),
        (lambda pair: principal_component_probe(pair, pair, counts=(3,)), "1 to 2. Received: .3"),
        (
            lambda pair: principal_component_probe(pair, pair, (1,), basis=np.zeros((5, 3))),
            r"\(M, 2\). Received: shape \(5, 3\)",
        ),
        (lambda pair: tuned_ridge_probe(pair, pair, values_of_l2=(0, 1)), "positive"),
        (lambda pair: label_fraction(pair[1], 1.5), "at most 1. Received: 1.5"),
        (lambda pair: label_fraction(pair[0], 0.5), "ints .N,. from 0"),
    ],
)
def test_what_is_refused(call, said, rng):
    with pytest.raises(ValueError, match=said):
        call((rng.normal(size=(4, 2)), np.array([0, 1, 0, 1])))
