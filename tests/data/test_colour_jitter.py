import numpy as np
import pytest
from PIL import Image

from keras_convnextv2.data import ColourJitter

pytestmark = pytest.mark.one_backend

NUM_DRAWS = 400


def random_image(channels=3):
    shape = (9, 11, channels)
    return np.random.default_rng(0).integers(60, 120, shape).astype("uint8")


def factors(transform, image, measure):
    """Sorted measures of many results."""
    rng = np.random.default_rng(2)
    return np.sort([measure(transform(image, rng).astype("float64")) for _ in range(NUM_DRAWS)])


def assert_even(values, low, high, resolution):
    """Kolmogorov and Smirnov at one in 1000, and what the rounding of levels may move."""
    shares = (values - low) / (high - low)
    steps = (np.arange(len(values)) + 0.5) / len(values)
    assert np.abs(shares - steps).max() < 1.95 / np.sqrt(NUM_DRAWS) + resolution / (high - low)


def test_brightness_multiplies_by_an_even_factor_around_1():
    image = random_image()
    found = factors(ColourJitter(brightness=0.4), image, lambda x: x.mean() / image.mean())
    assert_even(found, 0.6, 1.4, resolution=1 / 90)  # a level of about 90


def test_contrast_moves_away_from_the_mean_grey_by_an_even_factor():
    image = random_image()
    found = factors(ColourJitter(contrast=0.3), image, lambda x: x.std() / image.std())
    assert_even(found, 0.7, 1.3, resolution=1 / 17)  # of a deviation of about 17
    grey = np.asarray(Image.fromarray(image).convert("L")).astype("float64")
    mean = round(grey.mean())
    for seed in range(5):
        changed = ColourJitter(contrast=0.9)(image, np.random.default_rng(seed)).astype("float64")
        far = np.abs(image.astype("float64") - mean) > 20
        ratios = (changed - mean)[far] / (image.astype("float64") - mean)[far]
        assert np.ptp(ratios) < 2 / 20  # one level, cut, at each pixel


def test_saturation_moves_away_from_the_grey_image_by_an_even_factor():
    image = random_image()
    spread = np.ptp(image.astype("float64"), axis=-1).mean()
    measured = factors(
        ColourJitter(saturation=0.5), image, lambda x: np.ptp(x, axis=-1).mean() / spread
    )
    assert_even(measured, 0.5, 1.5, resolution=1 / 29)  # of a spread of about 29


def test_a_size_beyond_1_stops_at_a_factor_of_0():
    image = random_image() // 2  # 2.5 times as bright they are not cut
    found = factors(ColourJitter(brightness=1.5), image, lambda x: x.mean() / image.mean())
    assert_even(found, 0, 2.5, resolution=1 / 45)


def test_hue_turns_pure_colours_round_the_circle():
    """A turn of a byte's step is 1/256 of the circle, as in torchvision: 6 / 256 of a side."""
    red = np.zeros((1, 1, 3), "uint8")
    red[..., 0] = 255
    rng = np.random.default_rng(4)
    found = np.stack([ColourJitter(hue=0.5)(red, rng)[0, 0] for _ in range(NUM_DRAWS)])
    found = found.astype("int32")
    assert np.all(found.max(axis=-1) == 255)
    assert np.all(found.min(axis=-1) == 0)
    # The six sides of the circle are as likely; four standard deviations of a binomial.
    order = np.argsort(-found, axis=-1, kind="stable")
    sides = np.unique(order, axis=0, return_counts=True)[1]
    assert len(sides) == 6
    assert np.abs(sides - NUM_DRAWS / 6).max() < 4 * np.sqrt(NUM_DRAWS * 5 / 36)


def test_a_small_hue_leaves_grey_and_stays_near():
    grey = np.full((4, 4, 3), 77, "uint8")
    red = np.zeros((4, 4, 3), "uint8")
    red[..., 0] = 200
    rng = np.random.default_rng(4)
    for _ in range(50):
        np.testing.assert_array_equal(ColourJitter(hue=0.1)(grey, rng), grey)
        # A tenth of the circle is 0.6 of a side: at most 120 of 200 of a neighbour, and a step.
        assert ColourJitter(hue=0.1)(red, rng)[0, 0, 1:].max() <= 120 + 5


def test_the_order_of_the_changes_is_drawn():
    """Contrast and brightness do not commute where levels are cut at 255."""
    image = random_image() * 2
    both = ColourJitter(brightness=1e-9, contrast=1e-9)
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(both(image, rng), image, atol=1)  # factors of 1
    jitter = ColourJitter(brightness=0.8, contrast=0.8)
    orders = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = jitter(image, np.random.default_rng(seed))
        factor, contrast = rng.uniform(0.2, 1.8), rng.uniform(0.2, 1.8)
        picture = Image.fromarray(image)
        results = [
            _contrast(_brightness(picture, factor), contrast),
            _brightness(_contrast(picture, contrast), factor),
        ]
        fits = [np.array_equal(found, np.asarray(result)) for result in results]
        assert any(fits)
        if sum(fits) == 1:
            orders.add(fits.index(True))
    assert orders == {0, 1}


def _brightness(picture, factor):
    return Image.blend(Image.new("RGB", picture.size, 0), picture, factor)


def _contrast(picture, factor):
    grey = int(np.asarray(picture.convert("L")).astype("float64").mean() + 0.5)
    return Image.blend(Image.new("RGB", picture.size, (grey,) * 3), picture, factor)


@pytest.mark.parametrize("channels", [1, 4])
def test_channels_without_colours_are_changed_one_by_one_by_the_same_factors(channels):
    image = random_image(channels)
    jitter = ColourJitter(brightness=0.4, contrast=0.4, channels=channels)
    alone = ColourJitter(brightness=0.4, contrast=0.4, channels=1)
    found = jitter(image, np.random.default_rng(1))
    assert np.any(found != image)
    for channel in range(channels):
        grey = alone(image[..., channel : channel + 1], np.random.default_rng(1))
        np.testing.assert_array_equal(found[..., channel], grey[..., 0])


@pytest.mark.parametrize("name", ["saturation", "hue"])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_what_mixes_colours_is_refused_by_name_where_there_are_none(name, channels):
    with pytest.raises(ValueError, match=f"`{name}` .give 0.* images of {channels} channels"):
        ColourJitter(**{name: 0.1}, channels=channels)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"brightness": -0.1}, "`brightness` must be 0 or more. Received: -0.1"),
        ({"contrast": float("nan")}, "`contrast` must be 0 or more. Received: nan"),
        ({"hue": 0.6}, "`hue` must be from 0 to 0.5. Received: 0.6"),
    ],
)
def test_sizes_that_cannot_be_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        ColourJitter(**settings)
