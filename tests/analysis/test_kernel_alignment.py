import itertools

import numpy as np
import pytest
import scipy.linalg

from keras_convnextv2.analysis import linear_cka

pytestmark = pytest.mark.one_backend


def plain_by_kernels(one, other):
    """trace(KHLH) over the roots, with the centring matrix written out."""
    count = len(one)
    centring = np.eye(count) - np.ones((count, count)) / count
    kernels = [centring @ x @ x.T @ centring for x in (one, other)]

    def independence(first, second):
        return np.trace(first @ second)

    k, l = kernels  # noqa: E741 - as the paper
    return independence(k, l) / np.sqrt(independence(k, k) * independence(l, l))


def unbiased_by_permutations(one, other):
    """The U-statistic itself: the mean over all (i, j, q, r), no two equal."""
    k, l = (x @ x.T for x in (one, other))  # noqa: E741 - as the paper

    def independence(first, second):
        terms = [
            first[i, j] * (second[i, j] + second[q, r] - 2 * second[i, q])
            for i, j, q, r in itertools.permutations(range(len(first)), 4)
        ]
        return np.mean(terms)

    return independence(k, l) / np.sqrt(independence(k, k) * independence(l, l))


@pytest.mark.parametrize("widths", [(3, 5), (9, 4), (12, 20)])  # of 7 images: both sides
def test_against_kernels_and_the_u_statistic(widths, rng):
    one = rng.normal(size=(7, widths[0])) + 2
    other = one @ rng.normal(size=widths) + rng.normal(size=(7, widths[1]))
    assert linear_cka(one, other, unbiased=False) == pytest.approx(
        plain_by_kernels(one, other), rel=1e-9
    )
    assert linear_cka(one, other) == pytest.approx(unbiased_by_permutations(one, other), rel=1e-9)


@pytest.mark.parametrize("unbiased", [True, False])
def test_a_turn_a_scale_and_a_shift_change_nothing(unbiased, rng):
    one, other = rng.normal(size=(30, 6)), rng.normal(size=(30, 4))
    turn = scipy.linalg.qr(rng.normal(size=(6, 6)))[0]
    value = linear_cka(one, other, unbiased)
    assert linear_cka(1e6 * one @ turn - 5, other, unbiased) == pytest.approx(value, rel=1e-6)
    assert linear_cka(one, one @ turn, unbiased) == pytest.approx(1, rel=1e-9)
    assert linear_cka(other, one, unbiased) == pytest.approx(value, rel=1e-9)


def test_unrelated_features_of_few_images_look_alike_to_the_plain_one_alone(rng):
    values = {unbiased: [] for unbiased in (True, False)}
    for _ in range(20):
        one, other = rng.normal(size=(2, 20, 200))
        for unbiased, found in values.items():
            found.append(linear_cka(one, other, unbiased))
    # Centred Gram matrices of wide noise are near a multiple of the identity.
    assert np.mean(values[False]) > 0.85
    assert abs(np.mean(values[True])) < 0.05


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (np.eye(5), np.eye(4), "same images. Received: 5, 4"),
        (np.eye(3), np.eye(3), "4 images or more. Received: 3"),
        (np.full((5, 2), 0.1), np.eye(5), "the same for all images"),
        (np.ones(5), np.eye(5), r"Received: shape \(5,\)"),
        (np.full((5, 5), np.nan), np.eye(5), "NaN"),
    ],
)
def test_features_that_are_refused(one, other, said):
    with pytest.raises(ValueError, match=said):
        linear_cka(one, other)
