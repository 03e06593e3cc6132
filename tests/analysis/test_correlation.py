import numpy as np
import pytest
import scipy.stats

from keras_convnextv2.analysis import correlation

pytestmark = pytest.mark.one_backend


@pytest.mark.parametrize("ties", [False, True])
def test_the_coefficients_are_scipy_s(rng, ties):
    x = rng.normal(size=25)
    y = np.exp(x) + rng.normal(size=25)
    if ties:
        x, y = np.round(x), np.round(y)
    found = correlation(x * 1e-200, y)
    assert found["n"] == 25
    assert found["pearson"] == pytest.approx(scipy.stats.pearsonr(x, y).statistic, abs=1e-12)
    assert found["spearman"] == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-12)


def test_the_interval_holds_the_truth_in_95_of_100(rng):
    # Of a normal pair of correlation r Spearman's is 6 / pi asin(r / 2).
    truth = 6 / np.pi * np.arcsin(0.6 / 2)
    held = 0
    for _ in range(400):
        x = rng.normal(size=30)
        low, high = correlation(x, 0.6 * x + 0.8 * rng.normal(size=30))["spearman_interval"]
        held += low < truth < high
    assert 0.91 < held / 400 < 0.99  # 4 deviations of 1.1 points


def test_equal_values_have_no_correlation_and_a_line_has_1():
    assert correlation([1, 1, 1, 1], [1, 2, 3, 4])["spearman"] is None
    found = correlation([1, 2, 3, 4], [8, 6, 4, 2])
    assert found["pearson"] == found["spearman"] == -1.0
    assert found["spearman_interval"] is None


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"4 pairs.*\(3,\) and \(3,\)"):
        correlation([1, 2, 3], [1, 2, 3])
    with pytest.raises(ValueError, match=r"\(4,\) and \(5,\)"):
        correlation(range(4), range(5))
    with pytest.raises(ValueError, match="NaN"):
        correlation([1, 2, 3, np.nan], range(4))
