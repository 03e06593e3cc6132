import numpy as np
import pytest

from keras_convnextv2.data import flip_and_shift

pytestmark = pytest.mark.one_backend


def random_images(count, height=5, width=7, channels=2):
    """Pixels from 1 to 255, so that a 0 is one that was filled in."""
    shape = (count, height, width, channels)
    return np.random.default_rng(0).integers(1, 256, shape).astype("uint8")


def expected_changes(image, max_shift):
    """{(flipped, down, right): image} of every change, written without index arithmetic."""
    changes = {}
    for flipped in (False, True):
        base = image[:, ::-1] if flipped else image
        for down in range(-max_shift, max_shift + 1):
            for right in range(-max_shift, max_shift + 1):
                moved = np.roll(base, (down, right), axis=(0, 1))
                moved[: max(down, 0)] = 0
                moved[len(moved) + min(down, 0) :] = 0
                moved[:, : max(right, 0)] = 0
                moved[:, moved.shape[1] + min(right, 0) :] = 0
                changes[flipped, down, right] = moved
    return changes


def test_every_image_is_flipped_and_shifted_by_itself_and_all_changes_come_up():
    image = random_images(1)
    results = flip_and_shift(np.repeat(image, 400, axis=0), np.random.default_rng(1), max_shift=1)
    expected = {change.tobytes() for change in expected_changes(image[0], 1).values()}
    assert len(expected) == 18
    assert {result.tobytes() for result in results} == expected
    assert results.dtype == "uint8"


def test_images_keep_their_places():
    images = random_images(30)
    results = flip_and_shift(images, np.random.default_rng(2), max_shift=2)
    for image, result in zip(images, results, strict=True):
        changes = {change.tobytes() for change in expected_changes(image, 2).values()}
        assert result.tobytes() in changes


def test_without_shift_images_are_only_flipped():
    images = random_images(30)
    results = flip_and_shift(images, np.random.default_rng(3), max_shift=0)
    flipped = np.array([np.any(a != b) for a, b in zip(images, results, strict=True)])
    assert 0 < flipped.sum() < 30
    np.testing.assert_array_equal(results[flipped], images[flipped][:, :, ::-1])


def test_result_follows_from_the_generator_and_leaves_its_input():
    images = random_images(10)
    before = images.copy()
    first, again, other = (
        flip_and_shift(images, np.random.default_rng(seed), max_shift=3) for seed in (4, 4, 5)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    np.testing.assert_array_equal(images, before)


def test_negative_shift_is_refused():
    with pytest.raises(ValueError, match="`max_shift` must be 0 or more. Received: -1"):
        flip_and_shift(random_images(1), np.random.default_rng(0), max_shift=-1)
