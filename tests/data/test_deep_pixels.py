"""Files of more than 8 bits, of many bands, of floats: the values that they hold."""

import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from keras_convnextv2.data import ImageSourceError, PixelRange
from keras_convnextv2.data.decoding import read_image
from keras_convnextv2.data.deep_pixels import read_values
from keras_convnextv2.data.file_fields import read_fields
from tests.data.png_file import write_png
from tests.data.tiff_file import write_tiff

pytestmark = pytest.mark.one_backend

SIZE = (5, 8)


@pytest.fixture
def values_of(tmp_path):
    """Writes an array with `write` and returns the values that are read."""

    def read(write, array, **options):
        path = tmp_path / ("a.png" if write is write_png else "a.tif")
        write(path, array, **options)
        return read_values(path, read_fields(path))

    return read


def random_values(dtype, shape, low=None, high=None):
    generator = np.random.default_rng(1)
    if np.dtype(dtype).kind == "f":
        return generator.normal(0, 3, shape).astype(dtype)
    limits = np.iinfo(dtype)
    low, high = limits.min if low is None else low, limits.max if high is None else high
    return generator.integers(low, high, shape, endpoint=True).astype(dtype)


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_16_bit_png_keeps_both_bytes_and_drops_alpha(values_of, samples):
    values = random_values("uint16", (*SIZE, samples))
    bands = 1 if samples < 3 else 3
    np.testing.assert_array_equal(values_of(write_png, values), values[..., :bands])


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "dtype", ["uint16", "int16", "int8", "uint32", "int32", "float16", "float32", "float64"]
)
def test_tiff_of_one_band_keeps_its_values(values_of, dtype, order, compressed):
    values = random_values(dtype, SIZE)
    read = values_of(write_tiff, values, order=order, compressed=compressed)
    np.testing.assert_array_equal(read, values[..., None])


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_12_bits_packed_in_a_tiff_are_read(values_of, order, compressed):
    values = random_values("uint16", SIZE, high=4095)
    read = values_of(write_tiff, values, order=order, compressed=compressed, bits=12)
    np.testing.assert_array_equal(read, values[..., None])


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extra", [None, (0,), (2,)])
def test_16_bit_colours_of_a_tiff_keep_both_bytes(values_of, order, compressed, planar, extra):
    values = random_values("uint16", (*SIZE, 3 if extra is None else 4))
    options = {"order": order, "compressed": compressed, "planar": planar}
    read = values_of(write_tiff, values, **options, fields={262: 2, 338: extra})
    np.testing.assert_array_equal(read, values[..., :3])


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_tiff_of_13_bands_keeps_them_all(values_of, dtype, compressed, planar, caplog):
    values = random_values(dtype, (*SIZE, 13))
    read = values_of(write_tiff, values, compressed=compressed, planar=planar)
    np.testing.assert_array_equal(read, values)
    assert not caplog.records  # nobody is told of an error


def test_tiff_compressed_by_lzw_is_read(tmp_path):
    values = random_values("uint16", (*SIZE, 13))
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, values, compression="lzw", photometric="minisblack", planarconfig="contig"
    )
    np.testing.assert_array_equal(read_values(path, read_fields(path)), values)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("bands", [1, 5])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_tiff_is_turned_as_its_orientation_says(tmp_path, orientation, bands, dtype, compressed):
    values = random_values(dtype, (*SIZE, bands))
    write_tiff(tmp_path / "a.tif", values, compressed=compressed, fields={274: orientation})
    first = Image.fromarray(values[..., 0])
    transposed = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    if orientation in transposed:
        first = first.transpose(transposed[orientation])
    expected = np.asarray(first) if dtype == "uint8" else np.round(np.asarray(first) / 257)
    options = {"channels": 3 if bands == 1 else bands, "pixel_range": PixelRange(0, 65535)}
    image = read_image(tmp_path / "a.tif", expected.shape, **options)
    np.testing.assert_array_equal(image[..., 0], expected)


def test_many_bands_become_as_many_channels_of_the_range(tmp_path):
    values = random_values("uint16", (*SIZE, 13), high=10000)
    write_tiff(tmp_path / "a.tif", values)
    image = read_image(tmp_path / "a.tif", SIZE, channels=13, pixel_range=PixelRange(0, 10000))
    np.testing.assert_array_equal(image, np.round(values * 255.0 / 10000))


def test_three_bands_of_8_bits_that_say_no_colour_become_rgb(tmp_path):
    values = random_values("uint8", (*SIZE, 3))
    write_tiff(tmp_path / "a.tif", values)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", SIZE), values)


def test_13_bands_of_8_bits_are_taken_as_they_are(tmp_path):
    values = random_values("uint8", (*SIZE, 13))
    write_tiff(tmp_path / "a.tif", values)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", SIZE, channels=13), values)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_grey_of_signed_values_and_of_floats_becomes_rgb(tmp_path, dtype):
    values = random_values(dtype, SIZE)
    write_tiff(tmp_path / "a.tif", values)
    image = read_image(tmp_path / "a.tif", SIZE, pixel_range=PixelRange(-4, 6))
    expected = np.round(np.clip((values.astype("float64") + 4) * 25.5, 0, 255))
    np.testing.assert_array_equal(image, expected[..., None].repeat(3, -1))


def test_where_0_is_white_the_image_is_inverted(tmp_path):
    values = random_values("uint16", SIZE, high=4095)
    write_tiff(tmp_path / "a.tif", values, fields={262: 0})
    image = read_image(tmp_path / "a.tif", SIZE, pixel_range=PixelRange(0, 4095))
    np.testing.assert_array_equal(image[..., 1], 255 - np.round(values * 255.0 / 4095))


def test_pixels_without_data_are_black(tmp_path):
    values = np.array([[-9999, 2, 4], [4, -9999, 3]], "float32")
    write_tiff(tmp_path / "a.tif", values, fields={42113: b"-9999\0"})
    image = read_image(tmp_path / "a.tif", (2, 3), pixel_range=PixelRange(-20000, 4))
    assert image[..., 0][values == -9999].tolist() == [0, 0]
    assert image[..., 0][values == 4].tolist() == [255, 255]


def test_complex_values_are_refused(tmp_path):
    write_tiff(tmp_path / "a.tif", np.ones(SIZE, "complex64"))
    with pytest.raises(ValueError, match="complex values have no brightness"):
        read_image(tmp_path / "a.tif", SIZE, pixel_range=PixelRange(0, 1))


def test_deep_image_is_resized_and_cut_like_others(tmp_path, write_image):
    pixels = write_image(tmp_path / "8.png", (8, 20))
    write_png(tmp_path / "16.png", pixels.astype("uint16"))
    deep = read_image(tmp_path / "16.png", (4, 6), pixel_range=PixelRange(0, 255))
    np.testing.assert_array_equal(deep, read_image(tmp_path / "8.png", (4, 6)))


def test_deep_image_over_the_pixel_limit_is_refused(tmp_path):
    write_tiff(tmp_path / "a.tif", random_values("uint16", (*SIZE, 13)))
    limit = 159e-6  # 13 samples count as four pixels
    with pytest.raises(ValueError, match="its 32x5 pixels are .*the limit of 0.000159"):
        read_image(tmp_path / "a.tif", SIZE, 13, PixelRange(0, 9), max_megapixels=limit)


def test_image_of_other_channels_is_refused(tmp_path, write_image):
    write_image(tmp_path / "a.png", SIZE)
    with pytest.raises(ValueError, match="it has 3 channels, not 13"):
        read_image(tmp_path / "a.png", SIZE, channels=13)


def test_missing_tifffile_is_named_with_its_extra(tmp_path, monkeypatch):
    write_tiff(tmp_path / "a.tif", random_values("uint16", (*SIZE, 13)))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(ImageSourceError) as caught:
        read_image(tmp_path / "a.tif", SIZE, channels=13, pixel_range=PixelRange(0, 9))
    message = str(caught.value)
    assert "a.tif is a TIFF of 13 band(s) of 16 bits, unsigned" in message
    assert message.endswith("pip install 'keras-convnextv2[tiff]'")
