import math

import numpy as np
import pytest

from keras_convnextv2.data import RandomErasing

pytestmark = pytest.mark.one_backend

NUM_DRAWS = 1500
FILLED = 100.0  # no noise of a normal


def erased_boxes(erase, size=(40, 60), channels=2):
    """(top, left, height, width) of each erased box, and the noise in all of them."""
    image = np.full((*size, channels), FILLED, "float32")
    rng = np.random.default_rng(8)
    boxes, noise = [], []
    for _ in range(NUM_DRAWS):
        found = erase(image, rng)
        erased = found != FILLED
        if not erased.any():
            continue
        assert np.all(erased == erased[..., :1])  # all channels of a pixel
        rows, columns = (np.flatnonzero(erased[..., 0].any(axis=axis)) for axis in (1, 0))
        box = (rows[0], columns[0], len(rows), len(columns))
        assert erased[..., 0].sum() == len(rows) * len(columns)  # one full rectangle
        boxes.append(box)
        noise.append(found[erased])
    assert np.all(image == FILLED)
    return np.array(boxes), np.concatenate(noise)


def assert_about(count, probability, trials):
    # Four standard deviations of a binomial; the seed is fixed.
    allowed = 4 * math.sqrt(trials * probability * (1 - probability))
    assert abs(count - trials * probability) < allowed, (count, trials * probability)


def test_a_quarter_of_the_images_loses_a_rectangle_of_a_fiftieth_to_a_third():
    boxes, noise = erased_boxes(RandomErasing())
    assert_about(len(boxes), 0.25, NUM_DRAWS)
    _, _, height, width = boxes.T
    # Sides are rounded: each by half a pixel at most.
    assert np.all((height - 0.5) * (width - 0.5) <= 2400 / 3)
    assert np.all((height + 0.5) * (width + 0.5) >= 2400 * 0.02)
    assert np.all((height - 0.5) / (width + 0.5) <= 1 / 0.3)
    assert np.all((height + 0.5) / (width - 0.5) >= 0.3)
    # Standard normal: four standard errors of the mean, and of the variance.
    count = len(noise)
    assert abs(noise.mean()) < 4 / math.sqrt(count)
    assert abs(noise.var() - 1) < 4 * math.sqrt(2 / count)
    # Each of the two channels, and of two neighbours, has noise of its own.
    for apart in (1, 2):
        assert abs(np.mean(noise[apart:] * noise[:-apart])) < 4 / math.sqrt(count)


def test_area_shape_and_place_are_even():
    # Large enough that rounding hides nothing, and small enough a rectangle that all fit.
    erase = RandomErasing(probability=1, area=(0.1, 0.2), aspect=(0.4, 1))
    boxes, _ = erased_boxes(erase, size=(300, 300), channels=1)
    top, left, height, width = boxes.T
    assert len(boxes) == NUM_DRAWS
    shares = height * width / 300**2
    places = [
        (shares - 0.1) / 0.1,
        1 - np.log(height / width) / math.log(0.4),
        (top + 0.5) / (300 - height + 1),
        (left + 0.5) / (300 - width + 1),
    ]
    for values in places:
        for limit in (0.25, 0.5, 0.75):
            assert_about(np.sum(values < limit), limit, NUM_DRAWS)


def test_a_rectangle_that_never_fits_leaves_the_image():
    image = np.full((4, 40, 3), FILLED, "float32")
    erase = RandomErasing(probability=1, area=(0.3, 0.3), aspect=(3, 3))  # 12 pixels high
    np.testing.assert_array_equal(erase(image, np.random.default_rng(0)), image)


def test_an_image_in_bytes_is_refused():
    with pytest.raises(ValueError, match="normalised float32 images.* Received: uint8"):
        RandomErasing()(np.zeros((8, 8, 3), "uint8"), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"probability": 1.5}, "`probability` is a probability, from 0 to 1. Received: 1.5"),
        ({"area": (0, 0.3)}, r"`area` must be a pair .* Received: \(0, 0.3\)"),
        ({"area": (0.3, 1.2)}, "`area` must be a pair .* <= high <= 1"),
        ({"aspect": (2, 1)}, "`aspect` must be a pair"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        RandomErasing(**settings)
