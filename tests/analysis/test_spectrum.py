"""RankMe, participation ratio, alpha-ReQ and collapse deviation, against closed forms and SciPy."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from keras_convnextv2.analysis import (
    alpha_req,
    collapse_deviation,
    participation_ratio,
    rankme,
    representation_measures,
)

pytestmark = pytest.mark.one_backend

ALL = (rankme, participation_ratio, alpha_req, collapse_deviation)


def with_spectrum(rng, variances, count):
    """Features (count, d) whose covariance has exactly these eigenvalues, turned at random."""
    width = len(variances)
    columns = rng.normal(size=(count, width))
    orthonormal, _ = np.linalg.qr(columns - columns.mean(0))
    turn, _ = np.linalg.qr(rng.normal(size=(width, width)))
    return orthonormal * np.sqrt(count * np.asarray(variances)) @ turn


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (15, 15)])
def test_against_singular_values(shape, rng):
    """The Gram matrix of either side gives what SciPy's singular values do."""
    features = rng.normal(size=shape) @ np.diag(rng.uniform(0.1, 3, shape[1])) + 1
    sizes = scipy.linalg.svdvals(features)
    assert rankme(features, epsilon=0.0) == pytest.approx(
        np.exp(scipy.stats.entropy(sizes)), rel=1e-9
    )
    shares = sizes / sizes.sum() + 1e-7
    assert rankme(features) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-9)
    variances = np.linalg.eigvals(np.cov(features.T, bias=True)).real
    expected = variances.sum() ** 2 / (variances**2).sum()
    assert participation_ratio(features) == pytest.approx(expected, rel=1e-9)


def test_an_isotropic_gaussian_has_all_its_directions(rng):
    """Of N normal images in d directions PR is near d / (1 + d / N) (Marchenko and Pastur)."""
    features = rng.normal(size=(4000, 20))
    # The deviations of the eigenvalues' moments are of order 1 / N.
    assert participation_ratio(features) == pytest.approx(20 / (1 + 20 / 4000), rel=0.005)
    assert rankme(features) == pytest.approx(20, rel=0.005)
    assert collapse_deviation(features) == pytest.approx(1, abs=0.005)
    # Of one spectrum all over, no power law: the slope is that of sampling alone.
    assert abs(alpha_req(features, first=1)) < 0.1


def test_rank_one(rng):
    features = np.outer(rng.normal(size=30), rng.normal(size=8))
    assert participation_ratio(features) == pytest.approx(1, rel=1e-12)
    # p is (1 + e, e, ..., e) of 8, e = 1e-7.
    expected = np.exp(-(1 + 1e-7) * np.log(1 + 1e-7) - 7e-7 * np.log(1e-7))
    assert rankme(features) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match="two eigenvalues above 0 from rank 6"):
        alpha_req(features)
    # On the line through 0 images point one way or the other: s * m (1 or -1) times a direction.
    signs = np.sign(features[:, :1] / features[0, 0])
    direction = features[0] / np.linalg.norm(features[0])
    expected = np.sqrt(8) * np.mean(np.abs(direction)) * np.sqrt(1 - signs.mean() ** 2)
    assert collapse_deviation(features) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.5])
@pytest.mark.parametrize("count", [200, 61])
def test_a_power_law_has_its_slope(alpha, count, rng):
    features = with_spectrum(rng, np.arange(1.0, 61) ** -alpha, count)
    assert alpha_req(features) == pytest.approx(alpha, rel=1e-6)
    assert alpha_req(100 * features + 3, first=2, last=60) == pytest.approx(alpha, rel=1e-6)


def test_the_slope_is_the_weighted_least_squares_of_the_ranks_asked_for(rng):
    variances = np.sort(rng.uniform(0.1, 2, 30))[::-1]
    features = with_spectrum(rng, variances, 50)
    ranks = np.arange(4, 21)
    fit = np.polyfit(np.log(ranks), np.log(variances[3:20]), 1, w=np.sqrt(1 / ranks))
    assert alpha_req(features, first=4, last=20) == pytest.approx(-fit[0], rel=1e-6)


def test_collapse_deviation_against_loops(rng):
    features = rng.normal(size=(12, 5)) * [1, 2, 3, 4, 5] + 2
    unit = [row / np.sqrt(sum(value**2 for value in row)) for row in features]
    deviations = [scipy.stats.tstd([row[k] for row in unit]) * np.sqrt(11 / 12) for k in range(5)]
    expected = np.sqrt(5) * sum(deviations) / 5
    assert collapse_deviation(features) == pytest.approx(expected, rel=1e-12)
    assert collapse_deviation(features * 1e-200) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_constant_features_are_finite(count):
    features = np.full((count, 6), 0.1)  # of which no sum is exact
    assert participation_ratio(features) == 0
    assert collapse_deviation(features) == 0
    assert rankme(features) == pytest.approx(1, abs=1e-4)  # and the formula's constant
    found = representation_measures(features)
    assert found["alpha_req"] is None
    assert all(np.isfinite(value) for value in found.values() if value is not None)
    assert rankme(np.zeros((count, 6))) == 0
    assert collapse_deviation(np.zeros((count, 6))) == 0


def test_all_measures_by_name(rng):
    features = rng.normal(size=(30, 12)).astype("float32")
    assert representation_measures(features) == {
        measure.__name__: measure(features) for measure in ALL
    }


@pytest.mark.parametrize("measure", ALL)
@pytest.mark.parametrize(
    ("features", "said"),
    [
        (np.ones(3), r"shape \(3,\)"),
        (np.ones((0, 3)), r"shape \(0, 3\)"),
        (np.full((9, 9), np.inf), "NaN or infinite"),
    ],
)
def test_features_that_are_refused(measure, features, said):
    with pytest.raises(ValueError, match=said):
        measure(features)


def test_ranks_that_are_refused():
    with pytest.raises(ValueError, match="ranks from 1. Received: 5, 5"):
        alpha_req(np.eye(9), first=5, last=5)
