import numpy as np
import pytest

from keras_convnextv2.data import HorizontalFlip, QuarterTurns, RandomShift, VerticalFlip

pytestmark = pytest.mark.one_backend

NUM_DRAWS = 1000


def random_image(height=5, width=7, channels=2):
    """Pixels from 1 to 255, so that a 0 is one that was filled in."""
    shape = (height, width, channels)
    return np.random.default_rng(0).integers(1, 256, shape).astype("uint8")


def counts_of(transform, image, expected):
    """How often each of the expected images comes; no other may."""
    rng = np.random.default_rng(1)
    counts = dict.fromkeys((values.tobytes() for values in expected), 0)
    assert len(counts) == len(expected)
    for _ in range(NUM_DRAWS):
        counts[transform(image, rng).tobytes()] += 1
    return np.array(list(counts.values()))


def assert_about(counts, probability):
    # Four standard deviations of a binomial; the seed is fixed.
    allowed = 4 * np.sqrt(NUM_DRAWS * probability * (1 - probability))
    assert np.abs(counts - NUM_DRAWS * probability).max() < allowed, counts


@pytest.mark.parametrize("probability", [0.5, 0.2])
def test_flips_come_as_often_as_asked(probability):
    image = random_image()
    for flip, flipped in ((HorizontalFlip, image[:, ::-1]), (VerticalFlip, image[::-1])):
        counts = counts_of(flip(probability), image, [flipped, image])
        assert_about(counts[:1], probability)


def test_all_quarter_turns_come_equally_often():
    image = random_image(6, 6)
    expected = [image, image.transpose(1, 0, 2)[::-1], image[::-1, ::-1]]
    expected.append(image.transpose(1, 0, 2)[:, ::-1])
    assert_about(counts_of(QuarterTurns(), image, expected), 1 / 4)


def test_quarter_turns_of_an_oblong_image_are_refused():
    with pytest.raises(ValueError, match="Quarter turns need square images.* Received: 5x7"):
        QuarterTurns()(random_image(), np.random.default_rng(0))


def test_all_shifts_come_equally_often_and_zeros_move_in():
    image = random_image()
    expected = []
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            moved = np.roll(image, (down, right), axis=(0, 1))
            moved[: max(down, 0)] = 0
            moved[len(moved) + min(down, 0) :] = 0
            moved[:, : max(right, 0)] = 0
            moved[:, moved.shape[1] + min(right, 0) :] = 0
            expected.append(moved)
    assert_about(counts_of(RandomShift(1), image, expected), 1 / 9)


@pytest.mark.parametrize("shift", [-1, 1.5])
def test_shifts_that_cannot_be_are_refused(shift):
    with pytest.raises(ValueError, match=f"`max_shift` must be whole pixels.* Received: {shift}"):
        RandomShift(shift)


@pytest.mark.parametrize("flip", [HorizontalFlip, VerticalFlip])
def test_a_probability_that_cannot_be_is_refused(flip):
    with pytest.raises(ValueError, match="`probability` is a probability.* Received: 50"):
        flip(50)
