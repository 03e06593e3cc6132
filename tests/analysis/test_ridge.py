import numpy as np
import pytest

from keras_convnextv2.analysis.ridge import few_shot_probe, ridge_probe, ridge_scores
from recipes import probe_table

pytestmark = pytest.mark.one_backend


def by_least_squares(train, labels, test, num_classes, l2):
    """The same regression by numpy.linalg.lstsq: the ridge as d + 1 more equations, sqrt(l2) w = 0.

    With big_vision's constants, written out: 1e-5 on the deviation, 100 for the bias.
    """
    mean, std = train.mean(axis=0), train.std(axis=0) + 1e-5
    x = np.hstack([(train - mean) / std, np.full((len(train), 1), 100.0)])
    x_test = np.hstack([(test - mean) / std, np.full((len(test), 1), 100.0)])
    targets = 2 * np.eye(num_classes)[labels] - 1
    width = x.shape[1]
    equations = np.vstack([x, np.sqrt(l2) * np.eye(width)])
    right = np.vstack([targets, np.zeros((width, num_classes))])
    return x_test @ np.linalg.lstsq(equations, right, rcond=None)[0]


@pytest.mark.parametrize("num_images", [40, 9], ids=["more_images", "more_features"])
@pytest.mark.parametrize("l2", [1024.0, 0.3])
def test_the_scores_are_those_of_least_squares(rng, num_images, l2):
    train, test = rng.normal(2.0, 3.0, (num_images, 12)), rng.normal(2.0, 3.0, (7, 12))
    labels = rng.integers(0, 4, num_images)
    expected = by_least_squares(train, labels, test, 4, l2)
    # Both in float64; the equations' condition is about 1e5.
    np.testing.assert_allclose(ridge_scores(train, labels, test, 4, l2), expected, rtol=1e-8)


def test_the_bias_is_hardly_pulled_to_zero(rng):
    # Features that say nothing: the scores are the mean of the targets, -1/3 + noise, not 0.
    labels = np.arange(300) % 3
    train = np.tile(rng.normal(size=(100, 5)).repeat(3, axis=0), 1)
    scores = ridge_scores(train, labels, train, 3)
    # 300 images of bias 100 weigh 3e6 beside a lambda of 1024.
    np.testing.assert_allclose(scores, -1 / 3, rtol=1024 / 3e6 * 1.01)


def test_few_shots_take_so_many_images_of_each_class_by_the_seed(rng):
    x, y = rng.normal(size=(60, 6)).astype("float32"), np.arange(60) % 3
    x_test, y_test = rng.normal(size=(40, 6)).astype("float32"), np.arange(40) % 3
    result = few_shot_probe((x, y), (x_test, y_test), shots=(1, 7), num_seeds=2)
    for seed in range(2):
        generator = np.random.default_rng(seed)
        order = [generator.permutation(np.where(y == label)[0]) for label in range(3)]
        for what, count in (("1 shot", 1), ("7 shots", 7)):
            chosen = np.concatenate([indices[:count] for indices in order])
            scores = by_least_squares(
                x[chosen].astype("float64"), y[chosen], x_test.astype("float64"), 3, 1024.0
            )
            assert result.accuracies[what][seed] == np.mean(scores.argmax(axis=1) == y_test)
    assert result.mean("7 shots") == sum(result.accuracies["7 shots"]) / 2
    assert result.settings["lambda"] == 1024 and result.settings["num_seeds"] == 2


def test_the_settings_say_how_many_images_the_smallest_class_gave(rng):
    y = np.repeat(np.arange(3), (30, 4, 9))
    pair = rng.normal(size=(43, 6)), y
    result = few_shot_probe(pair, pair, shots=(1, 5, 25), num_seeds=1)
    fewest = {"1 shot": 1, "5 shots": 4, "25 shots": 4}
    assert result.settings["fewest_images_a_class"] == fewest
    words = probe_table.settings_in_words(result.settings)
    assert "5 shots, 25 shots: only 4 images of the smallest class" in words
    enough = few_shot_probe(pair, pair, shots=(1, 4), num_seeds=1)
    assert "smallest class" not in probe_table.settings_in_words(enough.settings)


def test_classes_that_can_be_told_apart_are(rng):
    y = np.arange(90) % 3
    x = rng.normal(size=(90, 4)) + 6 * np.eye(4)[y]
    result = ridge_probe((x[:60], y[:60]), (x[60:], y[60:]))
    assert result.mean() == 1.0
    shuffled = ridge_probe((x[:60], rng.permutation(y[:60])), (x[60:], y[60:]))
    assert shuffled.mean() < 0.7


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        (((3, 4), (3,)), ((2, 5), (2,)), ("4 values", "5")),
        (((3, 4), (2,)), ((2, 4), (2,)), ("train", "(3, 4)", "(2,)")),
        (((3, 4), (3,)), ((0, 4), (0,)), ("test", "(0, 4)")),
    ],
)
def test_shapes_that_do_not_fit_are_refused(train, test, words):
    pairs = [(np.zeros(shapes[0]), np.zeros(shapes[1], int)) for shapes in (train, test)]
    with pytest.raises(ValueError) as error:
        ridge_probe(*pairs)
    assert all(word in str(error.value) for word in words)


def test_other_values_that_are_refused(rng):
    pair = rng.normal(size=(4, 2)), np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match="ints from 0.*-1"):
        ridge_probe((pair[0], np.array([0, 1, -1, 1])), pair)
    with pytest.raises(ValueError, match="ints from 0.*float64"):
        ridge_probe((pair[0], pair[1] * 1.0), pair)
    with pytest.raises(ValueError, match="NaN or infinite"):
        ridge_probe(pair, (pair[0] * np.nan, pair[1]))
    with pytest.raises(ValueError, match="positive. Received: 0"):
        ridge_probe(pair, pair, l2=0)
    with pytest.raises(ValueError, match=r"shots=\(0,\)"):
        few_shot_probe(pair, pair, shots=(0,))
