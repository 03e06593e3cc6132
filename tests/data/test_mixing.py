import math

import numpy as np
import pytest

from keras_convnextv2.data import Mixing
from keras_convnextv2.data.mixing import cutmix, cutmix_box, mixup

pytestmark = pytest.mark.one_backend

NUM_DRAWS = 2000


def random_batch(count=6, num_classes=4):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((count, 9, 12, 2)).astype("float32")
    labels = np.eye(num_classes, dtype="float32")[rng.integers(num_classes, size=count)]
    return images, labels


def test_mixup_is_a_weighted_sum_with_the_other_of_a_pair():
    images, labels = random_batch()
    mixed, shares = mixup(images, labels, 0.3)
    for place in range(6):
        other = (1, 0, 3, 2, 5, 4)[place]
        # float32 against float64.
        np.testing.assert_allclose(
            mixed[place], 0.3 * images[place].astype("float64") + 0.7 * images[other], atol=1e-6
        )
        np.testing.assert_allclose(
            shares[place], 0.3 * labels[place] + 0.7 * labels[other], atol=1e-7
        )
    assert mixed.dtype == shares.dtype == "float32"


def test_cutmix_pastes_the_box_and_counts_its_pixels():
    images, labels = random_batch()
    mixed, shares = cutmix(images, labels, (2, 5, 1, 9))
    for place in range(6):
        other = (1, 0, 3, 2, 5, 4)[place]
        expected = images[place].copy()
        for row in range(2, 5):
            for column in range(1, 9):
                expected[row, column] = images[other, row, column]
        np.testing.assert_array_equal(mixed[place], expected)
        own = 1 - 24 / 108
        np.testing.assert_allclose(
            shares[place], own * labels[place] + (1 - own) * labels[other], atol=1e-7
        )


def test_a_box_has_the_weights_area_around_an_even_pixel_and_is_cut_at_the_rim():
    rng = np.random.default_rng(1)
    boxes = np.array([cutmix_box((100, 200), 0.75, rng) for _ in range(NUM_DRAWS)])
    top, bottom, left, right = boxes.T
    # The root of a quarter is half of each side.
    whole = (bottom - top == 50) & (right - left == 100)
    assert abs(whole.mean() - 51 / 100 * 101 / 200) < 4 * math.sqrt(0.25 / NUM_DRAWS)
    assert set(zip(top, bottom, strict=True)) == {
        (max(0, centre - 25), min(100, centre + 25)) for centre in range(100)
    }
    assert left.min() == 0
    assert right.max() == 200
    top, bottom, left, right = cutmix_box((100, 200), 1.0, rng)
    assert top == bottom
    assert left == right


def weights_of(mix, count=NUM_DRAWS, size=(64, 64)):
    """What is left of the first image in the first label, and whether a batch was cut."""
    images = np.zeros((2, *size, 1), "float32")
    images[1] = 1
    labels = np.eye(2, dtype="float32")
    rng = np.random.default_rng(3)
    weights, cut = [], []
    for _ in range(count):
        mixed, shares = mix(images, labels, rng)
        # The label's share is the images', whichever of the two it was. Sums of float32.
        np.testing.assert_allclose(mixed[0].mean(), shares[0, 1], atol=1e-6)
        np.testing.assert_allclose(shares, shares[::-1, ::-1], atol=1e-7)
        np.testing.assert_allclose(shares.sum(axis=-1), 1, atol=1e-6)
        weights.append(shares[0, 0])
        cut.append(set(np.unique(mixed)) <= {0, 1})
    return np.array(weights), np.array(cut)


@pytest.mark.parametrize("alpha", [0.3, 0.8])
def test_mixup_draws_its_weight_from_a_beta(alpha):
    weights, cut = weights_of(Mixing(mixup_alpha=alpha, cutmix_alpha=0))
    assert cut.mean() < 0.05  # weights that are 0 or 1 in float32
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(weights.mean() - 0.5) < 4 * math.sqrt(variance / NUM_DRAWS)
    # A variable within 0..1 has a fourth central moment of at most 1/16.
    assert abs(weights.var() - variance) < 4 * math.sqrt(1 / 16 / NUM_DRAWS)


def test_cutmix_draws_the_boxs_area_from_a_beta():
    weights, cut = weights_of(Mixing(mixup_alpha=0, cutmix_alpha=1.0))
    assert cut.all()
    # A box of share u has sides of s = u^(1/2); s^2/4 of a side lies outside on average, for both
    # sides by themselves. For u even in 0..1 the mean of u (1 - s/4)^2 is as below.
    expected = 1 / 2 - 1 / 5 + 1 / 48
    # Four standard errors, and 1/64 since sides are cut to even pixels.
    assert abs((1 - weights).mean() - expected) < 4 * 0.3 / math.sqrt(NUM_DRAWS) + 1 / 64
    # A twentieth of the boxes is below 1/20 before they are cut, less four standard errors; of
    # Beta(5, 5) 0.0196 are below 1/5, and no box loses more than three quarters.
    assert np.mean(1 - weights < 0.05) > 0.03
    weights, _ = weights_of(Mixing(mixup_alpha=0, cutmix_alpha=5.0))
    assert np.mean(1 - weights < 0.05) < 0.03


def test_half_of_the_batches_are_cut_where_both_are_on():
    _, cut = weights_of(Mixing(mixup_alpha=5, cutmix_alpha=1))
    assert abs(cut.mean() - 0.5) < 4 * math.sqrt(0.25 / NUM_DRAWS)
    _, cut = weights_of(Mixing(mixup_alpha=5, cutmix_alpha=1, switch_probability=0.2))
    assert abs(cut.mean() - 0.2) < 4 * math.sqrt(0.16 / NUM_DRAWS)


def test_a_batch_is_left_as_often_as_asked():
    weights, _ = weights_of(Mixing(mixup_alpha=5, cutmix_alpha=0, probability=0.3))
    assert abs(np.mean(weights == 1) - 0.7) < 4 * math.sqrt(0.21 / NUM_DRAWS)


@pytest.mark.parametrize("count", [1, 5])
def test_the_last_of_an_odd_batch_stays(count):
    images, labels = random_batch(count)
    for seed in range(6):
        mixed, shares = Mixing()(images, labels, np.random.default_rng(seed))
        # weight * x + (1 - weight) * x in float32.
        np.testing.assert_allclose(mixed[-1], images[-1], atol=1e-6)
        np.testing.assert_allclose(shares[-1], labels[-1], atol=1e-6)


def test_class_numbers_and_no_labels_are_refused():
    images, _ = random_batch()
    with pytest.raises(ValueError, match=r"float \(B, K\), not class numbers.* Received: int32"):
        Mixing()(images, np.arange(6, dtype="int32"), np.random.default_rng(0))
    with pytest.raises(ValueError, match="shares of the classes.* Received: no labels"):
        Mixing()(images, None, np.random.default_rng(0))


def test_draws_are_the_same_on_every_machine():
    rng = np.random.default_rng([25, 0, 1])
    found = [cutmix_box((224, 192), rng.beta(1.0, 1.0), rng) for _ in range(3)]
    assert found == PINNED


PINNED = [(0, 107, 70, 192), (170, 184, 104, 116), (121, 169, 133, 173)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixup_alpha": -1}, "`mixup_alpha` must be 0 or more. Received: -1"),
        ({"cutmix_alpha": float("inf")}, "`cutmix_alpha` must be 0 or more. Received: inf"),
        ({"mixup_alpha": 0, "cutmix_alpha": 0}, "must be above 0, or nothing is mixed"),
        ({"probability": 2}, "`probability` is a probability, from 0 to 1. Received: 2"),
        ({"switch_probability": -0.1}, "`switch_probability` is a probability"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        Mixing(**settings)
