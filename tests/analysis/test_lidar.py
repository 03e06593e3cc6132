import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from keras_convnextv2.analysis import lidar

pytestmark = pytest.mark.one_backend


@pytest.mark.parametrize("shape", [(9, 3, 4), (5, 2, 12)])
def test_against_the_papers_matrices(shape, rng):
    """S_w^-1/2 S_b S_w^-1/2 written out, a view at a time, by SciPy's roots of matrices."""
    count, views, width = shape
    embeddings = rng.normal(size=shape) + 3 * rng.normal(size=(count, 1, width))
    between, within = np.zeros((width, width)), 0.01 * np.eye(width)
    overall = embeddings.mean(axis=(0, 1))
    for of_image in embeddings:
        mean = of_image.mean(0)
        between += np.outer(mean - overall, mean - overall) / count
        for view in of_image:
            within += np.outer(view - mean, view - mean) / (count * views)
    root = scipy.linalg.inv(scipy.linalg.sqrtm(within))
    values = np.clip(scipy.linalg.eigvalsh(root @ between @ root), 0, None)
    expected = np.exp(scipy.stats.entropy(values))
    assert lidar(embeddings, delta=0.01) == pytest.approx(expected, rel=1e-6)


def test_directions_in_which_views_differ_as_much_do_not_count(rng):
    """Two of six directions tell images apart; RankMe would count six."""
    images = np.concatenate([rng.normal(size=(2000, 1, 2)), np.zeros((2000, 1, 4))], axis=-1)
    views = images + rng.normal(size=(2000, 8, 6)) * [0.01, 0.01, 1, 1, 1, 1]
    # The other four have 1 / 8 of their views' variance left, against 10,000 times it.
    assert lidar(views) == pytest.approx(2, abs=0.05)


def test_images_that_are_all_alike_are_zero(rng):
    assert lidar(np.full((3, 4, 5), 0.1)) == 0
    views = rng.normal(size=(1, 4, 5)).repeat(3, axis=0)
    assert lidar(views) == 0


@pytest.mark.parametrize("shape", [(4, 5), (1, 4, 5), (4, 1, 5), (4, 4, 0)])
def test_shapes_that_are_refused(shape):
    with pytest.raises(ValueError, match="N and q 2 or more"):
        lidar(np.ones(shape))


def test_values_that_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        lidar(np.full((2, 2, 2), np.nan))
    with pytest.raises(ValueError, match="`delta` must be positive. Received: 0"):
        lidar(np.ones((2, 2, 2)), delta=0)
