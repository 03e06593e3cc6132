import math
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from keras_convnextv2.data import RandAugment
from keras_convnextv2.data.image_operations import OPERATIONS, apply_operation
from keras_convnextv2.data.rand_augment_levels import operation_argument
from keras_convnextv2.data.rand_augment_policy import RandAugmentPolicy

pytestmark = pytest.mark.one_backend

PAPER = "rand-m9-mstd0.5-inc1"
NUM_DRAWS = 3000
MAGNITUDES = (0, 5, 9, 10)

# timm's auto_augment.py (main, 2026-08), worked out by hand at each of MAGNITUDES: the argument
# with a positive and, where the operation goes both ways, with a negative sign.
_FIRST_SCALE_FACTORS = (0.1, 1.0, 1.72, 1.9)
_FACTORS = (1.0, 1.45, 1.81, 1.9), (1.0, 0.55, 0.19, 0.1)
TIMM = {
    # name: (without inc), (inc1)
    "AutoContrast": ((None,) * 4, (None,) * 4),
    "Equalize": ((None,) * 4, (None,) * 4),
    "Invert": ((None,) * 4, (None,) * 4),
    "Rotate": ((0.0, 15.0, 27.0, 30.0), (0.0, 15.0, 27.0, 30.0)),
    "Posterize": ((0, 2, 3, 4), (4, 2, 1, 0)),
    "Solarize": ((0, 128, 230, 256), (256, 128, 26, 0)),
    "SolarizeAdd": ((0, 55, 99, 110), (0, 55, 99, 110)),
    "Color": (_FIRST_SCALE_FACTORS, _FACTORS[0]),
    "Contrast": (_FIRST_SCALE_FACTORS, _FACTORS[0]),
    "Brightness": (_FIRST_SCALE_FACTORS, _FACTORS[0]),
    "Sharpness": (_FIRST_SCALE_FACTORS, _FACTORS[0]),
    "ShearX": ((0.0, 0.15, 0.27, 0.3), (0.0, 0.15, 0.27, 0.3)),
    "ShearY": ((0.0, 0.15, 0.27, 0.3), (0.0, 0.15, 0.27, 0.3)),
    "TranslateX": ((0.0, 0.225, 0.405, 0.45), (0.0, 0.225, 0.405, 0.45)),
    "TranslateY": ((0.0, 0.225, 0.405, 0.45), (0.0, 0.225, 0.405, 0.45)),
}
MIRRORED = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")
ENHANCED = ("Color", "Contrast", "Brightness", "Sharpness")


def assert_same(arguments, expected):
    """To the last bits of a float64; None and ints entirely."""
    for found, wanted in zip(arguments, expected, strict=True):
        assert found == (wanted if wanted is None else pytest.approx(wanted, rel=1e-12))


def test_the_operations_are_those_of_timm_in_its_order():
    assert list(OPERATIONS) == list(TIMM)
    assert RandAugment(PAPER).operations == tuple(TIMM)


@pytest.mark.parametrize("name", TIMM)
@pytest.mark.parametrize("increasing", [False, True])
def test_arguments_are_those_of_timm(name, increasing):
    arguments = TIMM[name][increasing]
    negative = arguments
    if name in MIRRORED:
        negative = tuple(-argument for argument in arguments)
    if name in ENHANCED and increasing:
        negative = _FACTORS[1]
    for sign, expected in ((1, arguments), (-1, negative)):
        found = [operation_argument(name, level, sign, increasing) for level in MAGNITUDES]
        assert_same(found, expected)
        assert [type(value) for value in found] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rand", (10, 2, 0.5, 0.0, 10, False)),
        (PAPER, (9, 2, 0.5, 0.5, 10, True)),
        ("rand-inc1-mstd0.5-m9", (9, 2, 0.5, 0.5, 10, True)),
        ("rand-m7-n3-p0.8-mmax14", (7, 3, 0.8, 0.0, 14, False)),
        ("rand-mstd101", (10, 2, 0.5, math.inf, 10, False)),
        ("rand-mstd100", (10, 2, 0.5, 100.0, 10, False)),
        ("rand-p1", (10, 2, 1.0, 0.0, 10, False)),
    ],
)
def test_a_policy_is_read_as_timm_reads_it(text, expected):
    assert RandAugmentPolicy.of(text) == RandAugmentPolicy(*expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m9", "A policy must begin with `rand`.* Received: 'm9'"),
        ("", "A policy must begin with `rand`"),
        ("rand-x3", "'x3' is no section of a policy; there are m, n, p, mstd, mmax, inc"),
        ("rand-m", "'m' is no section"),
        ("rand-m9.5", "'m9.5' must be a whole number. Received: 'rand-m9.5'"),
        ("rand-m-9", "'m' is no section"),
        ("rand-tweights", "'tweights' is no section .* no sets of operations"),
        ("rand-m9-m8", "'m8' gives a second magnitude"),
        ("rand-inc0", "`inc` must be 1, or left out"),
        ("rand-n0", "`n` must be 1 or more"),
        ("rand-mmax0", "`mmax` must be 1 or more"),
        ("rand-p1.5", "`p` is a probability"),
    ],
)
def test_a_policy_that_cannot_be_read_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        RandAugment(text)


def draws_of(augment):
    rng = np.random.default_rng(5)
    return [augment.draw(rng) for _ in range(NUM_DRAWS)]


def assert_about(count, probability, trials):
    # Four standard deviations of a binomial; the seed is fixed.
    allowed = 4 * math.sqrt(trials * probability * (1 - probability))
    assert abs(count - trials * probability) < allowed, (count, trials * probability)


def test_operations_are_drawn_evenly_for_each_image_and_applied_half_of_the_time():
    draws = draws_of(RandAugment(PAPER))
    names = Counter(name for draw in draws for name, _, _ in draw)
    for name in TIMM:
        assert_about(names[name], 0.5 / len(TIMM), 2 * NUM_DRAWS)
    lengths = Counter(len(draw) for draw in draws)
    for length, probability in enumerate((1 / 4, 1 / 2, 1 / 4)):
        assert_about(lengths[length], probability, NUM_DRAWS)
    pairs = [draw for draw in draws if len(draw) == 2]
    assert_about(sum(first[0] == second[0] for first, second in pairs), 1 / 15, len(pairs))


def test_each_operation_draws_its_direction_magnitude_and_interpolation():
    all_draws = draws_of(RandAugment("rand-n10-p1-m9-mstd0.5-inc1"))
    assert {len(draw) for draw in all_draws} == {10}
    draws = [drawn for draw in all_draws for drawn in draw if drawn[0] == "Rotate"]
    degrees = np.array([argument for _, argument, _ in draws])
    trials = len(draws)
    assert_about(np.sum(degrees > 0), 0.5, trials)
    assert_about(sum(resampling == "BICUBIC" for _, _, resampling in draws), 0.5, trials)
    magnitudes = np.abs(degrees) / 3
    # A normal's quantiles at 9 and half a deviation 0.5 either way, and what is clipped at 10.
    assert_about(np.sum(magnitudes < 9), 0.5, trials)
    assert_about(np.sum(np.abs(magnitudes - 9) < 0.5), 0.6827, trials)
    assert_about(np.sum(magnitudes == 10), 0.0228, trials)


def test_without_a_deviation_all_magnitudes_are_equal_and_beyond_100_even():
    rng = np.random.default_rng(6)
    fixed = RandAugmentPolicy.of("rand-m7")
    assert {fixed.draw_magnitude(rng) for _ in range(20)} == {7}
    even = RandAugmentPolicy.of("rand-m8-mstd101")
    magnitudes = np.array([even.draw_magnitude(rng) for _ in range(NUM_DRAWS)])
    for limit in (2, 4, 6):
        assert_about(np.sum(magnitudes < limit), limit / 8, NUM_DRAWS)
    assert magnitudes.max() <= 8
    beyond = RandAugmentPolicy.of("rand-m14-mmax14")
    assert beyond.draw_magnitude(rng) == 14
    assert RandAugmentPolicy.of("rand-m14").draw_magnitude(rng) == 10


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_named_interpolation_is_taken_always(interpolation):
    augment = RandAugment(PAPER, interpolation=interpolation)
    found = {resampling for draw in draws_of(augment) for _, _, resampling in draw}
    assert found == {interpolation.upper()}


def random_image(channels=3):
    shape = (23, 31, channels)
    return np.random.default_rng(0).integers(0, 256, shape).astype("uint8")


def test_an_image_gets_what_is_drawn_for_it_in_that_order():
    image = random_image()
    augment = RandAugment("rand-n4-m6-mstd1-inc1", fill=(9, 90, 200))
    for seed in range(40):
        expected = Image.fromarray(image)
        for name, argument, resampling in augment.draw(np.random.default_rng(seed)):
            expected = apply_operation(name, expected, argument, (9, 90, 200), resampling)
        found = augment(image, np.random.default_rng(seed))
        np.testing.assert_array_equal(found, np.asarray(expected))


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_each_channel_of_other_images_is_a_grey_image_with_the_same_draws(channels):
    image = random_image(channels)
    fill = tuple(range(20, 20 + channels))
    augment = RandAugment(PAPER, channels=channels, fill=fill, without=("Color",))
    assert len(augment.operations) == 14
    changed = 0
    for seed in range(30):
        found = augment(image, np.random.default_rng(seed))
        for channel in range(channels):
            grey = RandAugment(
                PAPER, channels=1, fill=fill[channel : channel + 1], without=("Color",)
            )
            alone = grey(image[..., channel : channel + 1], np.random.default_rng(seed))
            np.testing.assert_array_equal(found[..., channel], alone[..., 0])
        changed += np.any(found != image)
    assert changed > 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 4}, "RandAugment's `Color` .*`without`.* Received: images of 4 channels"),
        ({"fill": (1, 2)}, r"`fill` must be 3 numbers from 0 to 255. Received: \(1, 2\)"),
        ({"fill": (1, 2, 256)}, "`fill` must be 3 numbers"),
        ({"interpolation": "lanczos"}, "`interpolation` must be one of bilinear, bicubic, random"),
        (
            {"without": ("Colour",)},
            r"`without` must be names of operations: AutoContrast, .*Colour",
        ),
        ({"without": "Color"}, "`without` must be names of operations"),
        ({"without": tuple(TIMM)}, "`without` leaves no operation"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        RandAugment(PAPER, **settings)


def test_an_image_of_another_kind_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(
        ValueError, match=r"uint8 images \(H, W, 3\). Received: uint8 \(23, 31, 4\)"
    ):
        RandAugment(PAPER)(random_image(4), rng)
    with pytest.raises(ValueError, match=r"Received: float32 \(23, 31, 3\)"):
        RandAugment(PAPER)(random_image().astype("float32"), rng)


def test_without_pillow_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"by Pillow.*keras-convnextv2\[recipes\]"):
        RandAugment("rand-p1")(random_image(), np.random.default_rng(0))


def test_draws_are_the_same_on_every_machine():
    rng = np.random.default_rng([25, 0, 7])
    found = [drawn for _ in range(4) for drawn in RandAugment(PAPER).draw(rng)]
    assert [(name, resampling) for name, _, resampling in found] == [
        (name, resampling) for name, _, resampling in PINNED
    ]
    # The normal's tail takes a logarithm, whose last bit may differ.
    assert_same(*([argument for _, argument, _ in draws] for draws in (found, PINNED)))


PINNED = [
    ("Invert", None, "BILINEAR"),
    ("SolarizeAdd", 97, "BICUBIC"),
    ("Color", 0.23705320860181744, "BICUBIC"),
    ("Posterize", 1, "BILINEAR"),
    ("Sharpness", 1.8204150768711975, "BICUBIC"),
    ("Posterize", 1, "BILINEAR"),
]
