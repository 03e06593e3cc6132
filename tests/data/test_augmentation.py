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


def drawn(image, count, max_shift, seed=1):
    generator = np.random.default_rng(seed)
    return [flip_and_shift(image, generator, max_shift) for _ in range(count)]


def test_an_image_is_flipped_and_shifted_and_all_changes_come_up():
    (image,) = random_images(1)
    results = drawn(image, 400, max_shift=1)
    expected = {change.tobytes() for change in expected_changes(image, 1).values()}
    assert len(expected) == 18
    assert {result.tobytes() for result in results} == expected
    assert {result.dtype.name for result in results} == {"uint8"}


def test_without_shift_images_are_only_flipped():
    (image,) = random_images(1)
    flipped = [np.any(result != image) for result in drawn(image, 30, max_shift=0)]
    assert 0 < sum(flipped) < 30
    for is_flipped, result in zip(flipped, drawn(image, 30, max_shift=0), strict=True):
        np.testing.assert_array_equal(result, image[:, ::-1] if is_flipped else image)


@pytest.mark.parametrize("max_shift", [0, 3])
def test_result_follows_from_the_generator_and_leaves_its_input(max_shift):
    (image,) = random_images(1)
    before = image.copy()
    first, again, other = (drawn(image, 10, max_shift, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert np.any(np.array(first) != other)
    for result in first:
        result[:] = 0
    np.testing.assert_array_equal(image, before)


def test_a_shift_may_be_larger_than_the_image():
    (image,) = random_images(1, height=2, width=3)
    results = drawn(image, 60, max_shift=9)
    assert {result.shape for result in results} == {(2, 3, 2)}
    expected = {change.tobytes() for change in expected_changes(image, 9).values()}
    assert {result.tobytes() for result in results} <= expected
    assert any(not result.any() for result in results)


def test_an_image_that_is_a_view_is_changed_as_its_copy():
    (image,) = random_images(1)
    view = image[:, ::-1]
    for one, other in zip(drawn(view, 9, 1), drawn(view.copy(), 9, 1), strict=True):
        np.testing.assert_array_equal(one, other)


def test_negative_shift_is_refused():
    with pytest.raises(ValueError, match="`max_shift` must be 0 or more. Received: -1"):
        flip_and_shift(random_images(1)[0], np.random.default_rng(0), max_shift=-1)
