import numpy as np
import pytest

from keras_convnextv2.data import PixelRange

pytestmark = pytest.mark.one_backend


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("uint16", 0, 4095), ("uint16", 100, 900), ("int16", -1000, 3000), ("int32", -70000, 90000)],
)
def test_values_between_low_and_high_are_spread_over_0_to_255(dtype, low, high):
    values = np.random.default_rng(0).integers(low, high + 1, (5, 8)).astype(dtype)
    expected = np.round((values.astype("int64") - low) * 255 / (high - low))
    pixels = PixelRange(low, high).to_uint8(values)
    assert pixels.dtype == "uint8" and pixels.max() > 200 and pixels.min() < 50
    np.testing.assert_array_equal(pixels, expected)


def test_values_outside_are_black_and_white():
    values = np.array([[-2000, -1000], [3000, 32767]], "int16")
    assert PixelRange(-1000, 3000).to_uint8(values).tolist() == [[0, 0], [255, 255]]


def test_what_is_no_number_is_black():
    values = np.array([np.nan, -np.inf, 0.5, np.inf], "float32")
    assert PixelRange(0, 1).to_uint8(values).tolist() == [0, 0, 128, 255]


@pytest.mark.parametrize("pair", [(4095, 0), (3, 3), (0, float("nan")), (0, float("inf"))])
def test_what_is_no_range_is_refused(pair):
    with pytest.raises(ValueError, match="such as 0 and 4095. Received: "):
        PixelRange(*pair)


def test_whole_numbers_are_written_as_such():
    assert str(PixelRange(-0.5, 4095.0, "by the fields")) == "-0.5 to 4095, by the fields"
    assert PixelRange(0.0, 4095.0).values == (0, 4095)
