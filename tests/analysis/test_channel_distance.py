"""The paper's feature cosine distance, against its double sum and closed forms."""

import itertools

import numpy as np
import pytest

from keras_convnextv2.analysis import channel_cosine_distance, shuffled_cosine_distance

pytestmark = pytest.mark.one_backend


def double_sum(image):
    """(1 / C^2) sum_ij (1 - cos(X_i, X_j)) / 2 of one image's (P, C), a pair at a time."""
    channels = image.shape[1]
    total = 0.0
    for i, j in itertools.product(range(channels), repeat=2):
        x, y = image[:, i], image[:, j]
        cosine = np.dot(x, y) / (np.linalg.norm(x) * np.linalg.norm(y))
        total += (1 - cosine) / 2
    return total / channels**2


def test_the_distance_is_the_papers_double_sum(rng):
    maps = rng.normal(size=(3, 4, 5, 7)) + 0.5
    expected = [double_sum(image.reshape(20, 7)) for image in maps]
    np.testing.assert_allclose(channel_cosine_distance(maps), expected, rtol=1e-12)


def test_orthogonal_equal_and_opposite_channels():
    orthogonal = np.eye(6).reshape(1, 2, 3, 6)
    one = np.arange(1.0, 7).reshape(1, 2, 3, 1)
    equal = one * [1, 2, 3, 0.5]
    opposite = one * [1, -1, 2, -2]
    assert channel_cosine_distance(orthogonal)[0] == pytest.approx((1 - 1 / 6) / 2, abs=1e-12)
    assert channel_cosine_distance(equal)[0] == pytest.approx(0, abs=1e-12)
    assert channel_cosine_distance(opposite)[0] == pytest.approx(0.5, abs=1e-12)


def test_the_baseline_is_the_mean_over_all_shuffles():
    """Of three positions each channel has six orders; all pairs of them are tried."""
    image = np.array([[1.0, 0.2], [0.5, -1.0], [0.0, 3.0]])
    orders = [list(order) for order in itertools.permutations(range(3))]
    tried = [
        double_sum(np.stack([image[one, 0], image[other, 1]], axis=1))
        for one in orders
        for other in orders
    ]
    found = shuffled_cosine_distance(image.reshape(1, 3, 1, 2))
    assert found[0] == pytest.approx(np.mean(tried), abs=1e-12)


def test_the_baseline_is_what_seeded_shuffles_come_near(rng):
    maps = np.maximum(rng.normal(size=(1, 8, 8, 32)), 0)  # not negative, as after GELU
    maps = maps + np.maximum(rng.normal(size=(1, 8, 8, 1)), 0)  # all look at the same positions
    flat = maps.reshape(64, 32)
    shuffled = [double_sum(rng.permuted(flat, axis=0)) for _ in range(20)]
    spread = np.std(shuffled) / np.sqrt(20)
    found = shuffled_cosine_distance(maps)[0]
    assert abs(found - np.mean(shuffled)) < 5 * spread
    assert channel_cosine_distance(maps)[0] < found - 0.05


def test_channels_that_are_zero_are_like_each_other_alone(rng):
    live = rng.normal(size=(1, 3, 3, 2))
    maps = np.concatenate([live, np.zeros((1, 3, 3, 3))], axis=-1)
    of_live = 4 * (1 - 2 * channel_cosine_distance(live)[0])  # the sum of the live cosines
    expected = (1 - (of_live + 9) / 25) / 2
    assert channel_cosine_distance(maps)[0] == pytest.approx(expected, abs=1e-12)
    zero = np.zeros((2, 3, 3, 5))
    np.testing.assert_array_equal(channel_cosine_distance(zero), [0, 0])
    np.testing.assert_array_equal(shuffled_cosine_distance(zero), [0, 0])


def test_a_map_of_one_position_is_its_own_baseline(rng):
    maps = np.abs(rng.normal(size=(2, 1, 1, 9)))
    np.testing.assert_allclose(channel_cosine_distance(maps), 0, atol=1e-12)
    np.testing.assert_allclose(shuffled_cosine_distance(maps), 0, atol=1e-12)


def test_sizes_of_channels_do_not_matter(rng):
    maps = rng.normal(size=(2, 4, 4, 6)).astype("float32")
    sizes = np.float32([1e-30, 1e-8, 1, 1e3, 1e10, 1e25])  # the squares are beyond float32
    for measure in (channel_cosine_distance, shuffled_cosine_distance):
        np.testing.assert_allclose(measure(maps * sizes), measure(maps), rtol=1e-6)  # float32


@pytest.mark.parametrize(
    ("maps", "said"),
    [
        (np.ones((3, 4)), r"Received: shape \(3, 4\)"),
        (np.ones((0, 2, 2, 3)), r"Received: shape \(0, 2, 2, 3\)"),
        (np.full((1, 2, 2, 3), np.nan), "NaN or infinite"),
    ],
)
def test_maps_that_are_refused(maps, said):
    with pytest.raises(ValueError, match=said):
        channel_cosine_distance(maps)
    with pytest.raises(ValueError, match=said):
        shuffled_cosine_distance(maps)
