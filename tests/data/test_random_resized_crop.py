import math

import numpy as np
import pytest

from keras_convnextv2.data import RandomResizedCrop

pytestmark = pytest.mark.one_backend

NUM_DRAWS = 2000
# Kolmogorov and Smirnov: an even sample of n lies farther off once in 1000 times. Seeds are fixed.
MOST_OFF = 1.95 / math.sqrt(NUM_DRAWS)


def boxes_of(framing, width, height):
    rng = np.random.default_rng(3)
    return np.array([framing.box(width, height, rng) for _ in range(NUM_DRAWS)])


def distance_from_even(values, low, high):
    shares = (np.sort(values) - low) / (high - low)
    steps = np.arange(len(shares) + 1) / len(shares)
    return max(np.abs(shares - steps[1:]).max(), np.abs(shares - steps[:-1]).max())


def test_area_shape_and_place_are_drawn_evenly():
    # The largest box is 866 wide, so none is drawn twice and the distributions are pure.
    framing = RandomResizedCrop((24, 32), scale=(0.1, 0.5), ratio=(0.8, 1.5))
    left, top, right, bottom = boxes_of(framing, 1000, 1000).T
    width, height = right - left, bottom - top
    assert distance_from_even(width * height / 1000**2, 0.1, 0.5) < MOST_OFF
    ratio = np.log(width / height)
    assert distance_from_even(ratio, math.log(0.8), math.log(1.5)) < MOST_OFF
    # Whole pixels are drawn, each stands for the interval around it.
    across, down = (left + 0.5) / (1000 - width + 1), (top + 0.5) / (1000 - height + 1)
    assert distance_from_even(across, 0, 1) < MOST_OFF
    assert distance_from_even(down, 0, 1) < MOST_OFF
    assert abs(np.corrcoef(across, down)[0, 1]) < 4 / math.sqrt(NUM_DRAWS)


@pytest.mark.parametrize(("width", "height"), [(400, 300), (37, 90), (3, 2), (1, 1)])
def test_boxes_lie_inside_and_have_whole_pixels(width, height):
    boxes = boxes_of(RandomResizedCrop((24, 24), scale=(0.01, 1)), width, height)
    left, top, right, bottom = boxes.T
    assert np.all((left >= 0) & (left < right) & (right <= width))
    assert np.all((top >= 0) & (top < bottom) & (bottom <= height))
    np.testing.assert_array_equal(boxes, np.round(boxes))


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [
        (1000, 12, (492.0, 0.0, 508.0, 12.0)),  # 16 wide, 4/3 of 12
        (12, 1000, (0.0, 492.0, 12.0, 508.0)),  # 16 high, 12 over 3/4
        (1, 9, (0.0, 4.0, 1.0, 5.0)),
        (40000, 31000, (0.0, 0.0, 40000.0, 31000.0)),  # its own shape is allowed
    ],
)
def test_what_never_fits_gives_the_largest_allowed_box_in_the_centre(width, height, box):
    # Only a box of the picture's own shape, to the pixel, has all of its area.
    framing = RandomResizedCrop((24, 24), scale=(1, 1))
    assert set(map(tuple, boxes_of(framing, width, height)[:50])) == {box}


def test_ten_draws_are_made_before_the_centre_is_taken():
    # Of 0.6 * 200 * 100 pixels a box is at most 100.49 high where its ratio is 1.188 or more.
    boxes = boxes_of(RandomResizedCrop((24, 24), scale=(0.6, 0.6)), 200, 100)
    fits = math.log(4 / 3 / (12000 / 100.5**2)) / math.log(16 / 9)
    expected = (1 - fits) ** 10
    found = np.mean(boxes[:, 2] - boxes[:, 0] == 133)  # 4/3 of 100; drawn ones are 127 at most
    # Four standard deviations of a binomial; the seed is fixed.
    assert abs(found - expected) < 4 * math.sqrt(expected * (1 - expected) / NUM_DRAWS)


def test_draws_are_the_same_on_every_machine():
    rng = np.random.default_rng([25, 0, 7])
    framing = RandomResizedCrop([64, 96], scale=[0.08, 1])
    assert framing == RandomResizedCrop((64, 96), scale=(0.08, 1.0))
    assert [framing.box(400, 300, rng) for _ in range(3)] == PINNED


PINNED = [(89.0, 11.0, 306.0, 272.0), (19.0, 0.0, 374.0, 281.0), (66.0, 23.0, 391.0, 274.0)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": (0.5, 0.2)}, r"`scale` must be a pair .* <= high <= 1. Received: \(0.5, 0.2\)"),
        ({"scale": (0.2, 1.5)}, r"`scale` must be a pair"),
        ({"scale": 0.5}, r"`scale` must be a pair .* Received: 0.5"),
        ({"ratio": (0, 1)}, r"`ratio` must be a pair .* 0 < low <= high. Received: \(0, 1\)"),
        ({"image_size": 224}, r"`image_size` must be \(H, W\) .* Received: 224"),
        ({"image_size": (224, 0)}, r"`image_size` must be \(H, W\)"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        RandomResizedCrop(**{"image_size": (24, 24), **settings})
