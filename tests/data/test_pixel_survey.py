"""One range of pixels for all images, by the flag, by the files' fields or by a scan."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from keras_convnextv2.data import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ImageSourceError,
    ImageSourceWarning,
    PixelRange,
    open_source,
)
from tests.data.png_file import write_png
from tests.data.tiff_file import write_tiff

pytestmark = pytest.mark.one_backend

SIZE = (6, 10)


def grey(high, low=0, dtype="uint16", seed=0, shape=SIZE):
    """Values from `low` to `high`, both of which are there."""
    values = np.random.default_rng(seed).integers(low, high, shape, endpoint=True)
    values.ravel()[:2] = low, high
    return values.astype(dtype)


@pytest.fixture
def survey(tmp_path):
    """Writes arrays into a class folder and opens it."""

    def opened(arrays, write=write_tiff, pixel_range=None, **options):
        ending = "png" if write is write_png else "tif"
        for number, array in enumerate(arrays):
            write(tmp_path / "cat" / f"{number}.{ending}", array, **options)
        return open_source(tmp_path, "train", pixel_range)

    return opened


@pytest.mark.parametrize("write", [write_tiff, write_png])
@pytest.mark.parametrize(
    ("highest", "white"), [(9, 255), (700, 1023), (4000, 4095), (9999, 16383), (40000, 65535)]
)
def test_scan_takes_the_bits_that_hold_all_values(survey, write, highest, white):
    arrays = [grey(highest // 3, seed=1), grey(highest, seed=2)]
    source = survey(arrays, write)
    assert source.pixel_range == PixelRange(0, white)
    assert "by a scan of 2 of 2 file(s)" in source.pixel_range.origin
    images = source.read([0, 1], SIZE)
    expected = np.round(np.stack(arrays) * 255.0 / white)
    np.testing.assert_array_equal(images, expected[..., None].repeat(3, -1))


def test_12_bits_in_colour_are_not_black(survey):
    values = grey(4095, shape=(*SIZE, 3))
    source = survey([values], write_png)
    np.testing.assert_array_equal(source.read([0], SIZE)[0], np.round(values * 255.0 / 4095))


def test_given_range_goes_before_all_others(survey):
    source = survey([grey(900)], pixel_range=(100, 600), fields={281: 4095})
    assert source.pixel_range.values == (100, 600)


def test_fields_of_all_files_are_taken_together(tmp_path):
    for number, (low, high) in enumerate([(5, 1000), (2, 4095), (9, 3000)]):
        write_tiff(tmp_path / "cat" / f"{number}.tif", grey(700), fields={280: low, 281: high})
    found = open_source(tmp_path, "train").pixel_range
    assert found.values == (2, 4095) and found.origin == "by the fields of 3 file(s)"


def test_fields_of_signed_and_floating_samples_are_taken(survey):
    arrays = [grey(900, low=-300, dtype="int16")]
    assert survey(arrays, fields={340: -1024.0, 341: 3071.0}).pixel_range.values == (-1024, 3071)


def test_12_bits_a_sample_say_the_range(survey):
    source = survey([grey(900)], bits=12)
    assert source.pixel_range.values == (0, 4095)
    assert source.pixel_range.origin == "by the fields of 1 file(s)"


def test_field_that_says_no_more_than_16_bits_is_not_believed(survey):
    source = survey([grey(900)], fields={281: 65535})
    assert source.pixel_range.values == (0, 1023) and "scan" in source.pixel_range.origin


def test_where_one_file_says_nothing_all_are_scanned(tmp_path):
    write_tiff(tmp_path / "cat" / "0.tif", grey(900), fields={281: 1000})
    write_tiff(tmp_path / "cat" / "1.tif", grey(3000))
    assert open_source(tmp_path, "train").pixel_range.values == (0, 4095)


def test_significant_bits_of_png_are_taken_where_the_values_fit(survey):
    source = survey([grey(900)], write_png, significant_bits=12)
    assert source.pixel_range.values == (0, 4095)
    assert source.pixel_range.origin.startswith("by the field sBIT")


def test_values_that_fill_all_bits_as_png_asks_keep_their_brightness(survey):
    source = survey([16 * grey(4000)], write_png, significant_bits=12)
    assert source.pixel_range.values == (0, 65535)


def test_floats_within_0_and_1_keep_that_range(survey):
    values = np.random.default_rng(0).uniform(0.2, 0.6, SIZE).astype("float32")
    source = survey([values])
    assert source.pixel_range.values == (0, 1)
    np.testing.assert_array_equal(source.read([0], SIZE)[0, ..., 1], np.round(values * 255))


def test_other_values_are_scaled_between_their_extremes_but_for_few(survey):
    values = np.random.default_rng(0).normal(-300, 500, (200, 300)).astype("int16")
    low, high = np.quantile(values, [0.001, 0.999])
    values[7, 9], values[5, 3] = -32768, 32767  # a dead pixel and a hot one
    found = survey([values]).pixel_range
    # Quantiles are of a part of the pixels.
    np.testing.assert_allclose(found.values, (low, high), atol=300)
    assert "cuts off 0.1 % at each end" in found.origin


def test_values_without_data_and_no_numbers_do_not_count(survey):
    values = np.random.default_rng(0).uniform(0, 1, SIZE).astype("float32")
    values[2:4], values[4, 4], values[5, 5] = -9999, np.nan, np.inf
    source = survey([values], fields={42113: b"-9999\0"})
    assert source.pixel_range.values == (0, 1)
    assert source.read([0], SIZE)[0, 2:4].max() == 0


def test_values_that_are_all_the_same_have_a_range(survey):
    low, high = survey([np.full(SIZE, -7, "int16")]).pixel_range.values
    assert low == -7 < high


def test_files_of_8_bits_have_no_range_and_are_as_they_are(tmp_path, write_image):
    pixels = write_image(tmp_path / "cat" / "a.png", SIZE)
    source = open_source(tmp_path, "train", (0, 4095))
    assert source.pixel_range is None
    np.testing.assert_array_equal(source.read([0], SIZE)[0], pixels)


def test_both_splits_have_the_range_of_the_training_images(tmp_path):
    write_tiff(tmp_path / "train" / "cat" / "a.tif", grey(3000))
    write_tiff(tmp_path / "test" / "cat" / "a.tif", grey(700))
    for split in ("train", "test"):
        assert open_source(tmp_path, split).pixel_range.values == (0, 4095)


@pytest.mark.parametrize("listed", [False, True])
def test_a_deep_split_beside_training_images_of_8_bits_has_a_range_too(
    tmp_path, write_image, listed
):
    write_image(tmp_path / "train" / "cat" / "a.png", SIZE)
    write_tiff(tmp_path / "test" / "cat" / "a.tif", grey(700))
    folder = tmp_path
    if listed:
        folder = tmp_path / "table.csv"
        folder.write_text("path,label,split\ntrain/cat/a.png,cat,train\ntest/cat/a.tif,cat,test\n")
    assert open_source(folder, "train").pixel_range is None
    assert open_source(folder, "test").pixel_range.values == (0, 1023)
    source = open_source(folder, "test", PixelRange(0, 700))
    assert source.read([0], SIZE).max() == 255


def test_many_bands_have_the_mean_and_deviation_of_the_training_images(tmp_path):
    arrays = [grey(4095, shape=(*SIZE, 5), seed=seed) for seed in range(2)]
    for number, array in enumerate(arrays):
        array[..., 3] //= 4
        write_tiff(tmp_path / "train" / "cat" / f"{number}.tif", array)
    write_tiff(tmp_path / "test" / "cat" / "a.tif", grey(200, shape=(*SIZE, 5)))
    pixels = np.round(np.concatenate(arrays) * 255.0 / 4095) / 255
    for split in ("train", "test"):
        source = open_source(tmp_path, split)
        assert source.channels == 5 and source.pixel_range.values == (0, 4095)
        np.testing.assert_allclose(source.mean, pixels.mean((0, 1)), rtol=1e-6)
        np.testing.assert_allclose(source.std, pixels.std((0, 1)), rtol=1e-6)
    assert source.read([0], (4, 4)).shape == (1, 4, 4, 5)


def test_deep_grey_is_normalised_as_rgb(survey):
    source = survey([grey(4095)])
    assert (source.channels, source.mean, source.std) == (3, IMAGENET_MEAN, IMAGENET_STD)


def test_tiffs_of_several_images_are_said(tmp_path):
    frames = [Image.fromarray(grey(4000, seed=seed)) for seed in range(3)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    write_tiff(tmp_path / "b.tif", grey(4000))
    with pytest.warns(ImageSourceWarning, match=r"1 TIFF file\(s\) hold several images.*a\.tif"):
        source = open_source(tmp_path, "train")
    expected = np.round(np.asarray(frames[0]) * 255.0 / 4095)
    np.testing.assert_array_equal(source.read([0], SIZE)[0, ..., 0], expected)


def test_smaller_copies_of_an_image_are_not_said(tmp_path):
    values = grey(4000, shape=(64, 64))
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(values, subfiletype=0)
        file.write(values[::2, ::2], subfiletype=1)
    assert open_source(tmp_path, "train").notes == ()


def test_bands_that_differ_are_refused(tmp_path, write_image):
    write_tiff(tmp_path / "cat" / "a.tif", grey(9, shape=(*SIZE, 5)))
    write_image(tmp_path / "cat" / "b.jpg")
    with pytest.raises(ImageSourceError, match=r"other files has 3, .*a\.tif has 5"):
        open_source(tmp_path, "train")


def test_damaged_files_are_left_to_be_named_when_they_are_read(tmp_path):
    write_tiff(tmp_path / "cat" / "a.tif", grey(4000))
    content = (tmp_path / "cat" / "a.tif").read_bytes()
    (tmp_path / "cat" / "b.tif").write_bytes(content[:-40])
    (tmp_path / "cat" / "c.tif").write_bytes(content[:20])
    source = open_source(tmp_path, "train")
    assert source.pixel_range.values == (0, 4095)
    for place, name in ((1, "b.tif"), (2, "c.tif")):
        with pytest.raises(ImageSourceError, match=f"{name} cannot be read as an image"):
            source.read([place], SIZE)


def test_where_no_file_can_be_scanned_one_is_named(survey, tmp_path):
    write_tiff(tmp_path / "cat" / "0.tif", grey(4000))
    content = (tmp_path / "cat" / "0.tif").read_bytes()
    (tmp_path / "cat" / "0.tif").write_bytes(content[:-40])
    with pytest.raises(ImageSourceError, match=r"None of 1 files can be read .*0\.tif"):
        open_source(tmp_path, "train")


def test_deep_file_that_was_taken_for_another_kind_is_named(tmp_path, write_image):
    write_image(tmp_path / "cat" / "a.jpg")
    write_png(tmp_path / "cat" / "b.jpg", grey(4000))
    source = open_source(tmp_path, "train")
    with pytest.raises(ImageSourceError, match=r"b\.jpg has 1 band.* Give a pixel range"):
        source.read([1], SIZE)
