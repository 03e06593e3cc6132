import numpy as np
import pytest

from keras_convnextv2.analysis import removal_order

pytestmark = pytest.mark.one_backend


def by_loops(features):
    """The rule in loops, of the channels left, each time from numpy.corrcoef."""
    alike = np.abs(np.corrcoef(features.T))
    left, order = list(range(len(alike))), []
    while len(left) > 1:
        pairs = [(alike[i, j], i, j) for i in left for j in left if i < j]
        _, i, j = max(pairs)
        means = {k: np.mean([alike[k, other] for other in left if other != k]) for k in (i, j)}
        removed = i if means[i] >= means[j] else j
        order.append(removed)
        left.remove(removed)
    return order + left


def test_redundancy_is_the_rule_in_loops(rng):
    features = rng.normal(size=(80, 9)) @ rng.normal(size=(9, 9)) + 3.0
    order = removal_order(features, "redundancy")
    assert order.tolist() == by_loops(features)


def test_of_doubles_one_stays_until_nothing_else_is_left(rng):
    alone = rng.normal(size=(100, 4))
    features = np.hstack(
        [alone, -2 * alone + 0.01 * rng.normal(size=alone.shape), np.ones((100, 1))]
    )
    order = removal_order(features, "redundancy").tolist()
    assert order[0] == 8  # the constant
    assert sorted(channel % 4 for channel in order[1:5]) == [0, 1, 2, 3]


def test_the_weakest_response_goes_first_and_maps_count_each_position(rng):
    maps = rng.normal(size=(5, 2, 3, 4)) * [3.0, 0.1, 2.0, 1.0]
    assert removal_order(maps, "response").tolist() == [1, 3, 2, 0]
    flat = maps.reshape(-1, 4)
    for by in ("response", "redundancy"):
        np.testing.assert_array_equal(removal_order(maps, by), removal_order(flat, by))


def test_random_is_by_the_seed(rng):
    features = rng.normal(size=(3, 50))
    first, same, other = (removal_order(features, "random", seed).tolist() for seed in (4, 4, 5))
    assert first == same != other and sorted(first) == list(range(50))


@pytest.mark.parametrize("by", ["redundancy", "response", "random"])
def test_each_channel_is_there_once_even_of_constant_features(by):
    assert sorted(removal_order(np.full((6, 5), 0.1), by)) == list(range(5))
    assert removal_order(np.ones((1, 1)), by).tolist() == [0]


def test_what_is_refused():
    with pytest.raises(ValueError, match="redundancy, response, random. Received: 'cosine'"):
        removal_order(np.ones((3, 2)), "cosine")
    with pytest.raises(ValueError, match=r"\(N, ..., C\). Received: shape \(3,\)"):
        removal_order(np.ones(3), "random")
    with pytest.raises(ValueError, match="NaN or infinite"):
        removal_order(np.array([[np.nan, 1.0]]), "random")
