import os
import socket
import sys

import numpy as np
import pytest
from PIL import Image

from keras_convnextv2.data import Cover, ImageSourceError, PixelRange, open_source
from keras_convnextv2.data.decoding import frame_array, read_image
from tests.reference.processes import run_python

pytestmark = pytest.mark.one_backend


def test_image_of_the_asked_size_keeps_its_pixels(tmp_path, write_image):
    pixels = write_image(tmp_path / "a.png", (6, 9))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", (6, 9)), pixels)


def test_jpeg_decodes_to_about_its_pixels(tmp_path):
    ramp = np.linspace(0, 255, 16 * 24).reshape(16, 24, 1).repeat(3, -1).astype("uint8")
    Image.fromarray(ramp).save(tmp_path / "a.JPG", quality=95)
    image = read_image(tmp_path / "a.JPG", (16, 24))
    # Quality 95 is lossy by a few of 255 levels.
    np.testing.assert_allclose(image.astype(int), ramp.astype(int), atol=8)


def test_image_is_resized_to_cover_and_its_centre_kept(tmp_path, write_image):
    pixels = write_image(tmp_path / "a.png", (8, 20))
    expected = Image.fromarray(pixels).resize((10, 4), Image.Resampling.BICUBIC).crop((3, 0, 7, 4))
    image = read_image(tmp_path / "a.png", (4, 4))
    # Both interpolate the same points; crop and resize in one step may round differently.
    np.testing.assert_allclose(image.astype(int), np.asarray(expected).astype(int), atol=1)


def test_small_image_is_enlarged(tmp_path, write_image):
    write_image(tmp_path / "a.png", (3, 2))
    assert read_image(tmp_path / "a.png", (7, 11)).shape == (7, 11, 3)


def test_strip_does_not_become_a_giant_on_the_way(tmp_path, write_image):
    write_image(tmp_path / "a.png", (1, 60000))  # to cover 224 it would take 9 GB
    assert read_image(tmp_path / "a.png", (224, 224)).shape == (224, 224, 3)


@pytest.mark.parametrize("orientation, turns", [(3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(tmp_path, write_image, orientation, turns):
    exif = Image.Exif()
    exif[274] = orientation
    pixels = write_image(tmp_path / "a.png", (6, 9), exif=exif)
    expected = np.rot90(pixels, turns)
    image = read_image(tmp_path / "a.png", expected.shape[:2])
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_instead_of_clipped(tmp_path, suffix):
    values = np.random.default_rng(0).integers(0, 65536, (5, 8)).astype("uint16")
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(values).save(path)
    expected = np.round(values / 257).astype("uint8")[..., None].repeat(3, -1)
    image = read_image(path, (5, 8), pixel_range=PixelRange(0, 65535))
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint16"])
def test_pixels_without_a_known_range_are_refused(tmp_path, dtype):
    values = np.linspace(-1e5, 1e5, 12).reshape(3, 4).astype(dtype)
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(ImageSourceError, match=r"a\.tif has .* Give a pixel range \(--pixel_range"):
        read_image(tmp_path / "a.tif", (3, 4))


def test_alpha_is_dropped(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 4)).astype("uint8")
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", (5, 8)), pixels[..., :3])


def test_grey_and_palette_images_become_rgb(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (5, 8)).astype("uint8")
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "palette.png", transparency=b"\x00\x80")
    expected = grey[..., None].repeat(3, -1)
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png", (5, 8)), expected)
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png", (5, 8)), expected)


def test_first_frame_of_an_animation_is_read(tmp_path):
    frames = [Image.new("RGB", (4, 3), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif", (3, 4))[0, 0].tolist() == [255, 0, 0]


def test_avif_is_read(tmp_path):
    colours = np.array([[250, 20, 30], [30, 200, 90]], "uint8").repeat(16, 0)
    image = Image.fromarray(colours[None].repeat(16, 0))
    image.save(tmp_path / "a.avif", quality=100)
    # Colours are stored as brightness and two differences, rounded.
    read = read_image(tmp_path / "a.avif", (16, 32)).astype(int)
    np.testing.assert_allclose(read[:, [4, 28]], np.asarray(image)[:, [4, 28]], atol=4)


@pytest.fixture
def heic(tmp_path):
    """A HEIC file of (16, 32) pixels, named as a JPEG, and the pixels."""
    import pillow_heif

    colours = np.array([[250, 20, 30], [30, 200, 90]], "uint8").repeat(16, 0)[None].repeat(16, 0)
    pillow_heif.from_pillow(Image.fromarray(colours)).save(tmp_path / "a.jpg", quality=100)
    return tmp_path / "a.jpg", colours


def test_heic_is_read_by_pillow_heif(heic):
    path, pixels = heic
    read = read_image(path, (16, 32)).astype(int)
    np.testing.assert_allclose(read[:, [4, 28]], pixels[:, [4, 28]], atol=6)


def test_missing_pillow_heif_is_named_with_its_extra(heic, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageSourceError) as caught:
        read_image(heic[0], (16, 32))
    message = str(caught.value)
    assert "a.jpg is HEIC, which the package pillow-heif reads" in message
    assert message.endswith("pip install 'keras-convnextv2[heif]'")


def test_heic_in_a_folder_is_missed_before_it_is_read(tmp_path, write_image, monkeypatch):
    write_image(tmp_path / "cat" / "a.png")
    for number in range(3):
        (tmp_path / "cat" / f"{number}.HEIC").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageSourceError, match=r"3 files are HEIC, such as .*0\.HEIC, which"):
        open_source(tmp_path, "train")


def test_format_outside_the_list_is_refused_whatever_its_name(tmp_path, write_image):
    write_image(tmp_path / "a.ppm")
    (tmp_path / "a.ppm").rename(tmp_path / "a.png")
    with pytest.raises(OSError, match="cannot identify image file"):
        read_image(tmp_path / "a.png", (6, 9))


def test_an_image_over_the_limit_is_refused_and_the_flag_named(tmp_path, write_image):
    pixels = write_image(tmp_path / "a.png", (6, 9))
    message = r"its 9x6 pixels are 5.4e-05 million, above the limit of 5.3e-05.* --max_megapixels=1"
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / "a.png", (6, 9), max_megapixels=53e-6)
    read = read_image(tmp_path / "a.png", (6, 9), max_megapixels=54e-6)
    np.testing.assert_array_equal(read, pixels)


def test_what_is_no_file_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "pipe.jpg")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    (tmp_path / "folder.jpg").mkdir()
    for name, kind in (
        ("pipe", "a named pipe"),
        ("link", "a named pipe"),
        ("device", "a device"),
        ("folder", "a folder"),
    ):
        with pytest.raises(ValueError, match=f"it is {kind}, not a file"):
            read_image(tmp_path / f"{name}.jpg", (6, 9))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s.jpg"))
    listener.close()
    with pytest.raises(ValueError, match="it is a socket, not a file"):
        read_image(tmp_path / "s.jpg", (6, 9))


def coarse_pixels(height, width):
    """Squares of 20 pixels a side of random colours, which show every shift."""
    shape = (height // 20 + 1, width // 20 + 1, 3)
    coarse = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    return coarse.repeat(20, 0).repeat(20, 1)[:height, :width]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_at_reduced_scale_is_the_picture_it_is_at_full_scale(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    pixels = coarse_pixels(397, 531)  # of which an eighth, a quarter and a half are no integers
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95, exif=exif)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    for size in ((24, 24), (44, 32), (40, 93)):
        small, exact = (
            read_image(tmp_path / f"a.{ending}", size).astype(int) for ending in ("jpg", "png")
        )
        # Another filter, and the losses of JPEG.
        assert np.abs(small - exact).mean() < 2
        assert np.any(small != exact)


def test_a_jpeg_of_less_than_four_times_the_size_is_decoded_whole(tmp_path):
    Image.fromarray(coarse_pixels(159, 300)).save(tmp_path / "a.jpg", quality=95)
    Image.open(tmp_path / "a.jpg").save(tmp_path / "a.png")
    size = (40, 56)  # of the box of 159x223 pixels not quite a quarter
    read = read_image(tmp_path / "a.jpg", size)
    np.testing.assert_array_equal(read, read_image(tmp_path / "a.png", size))
    np.testing.assert_array_equal(read, read_image(tmp_path / "a.jpg", size))


def test_a_jpeg_counts_by_the_pixels_that_are_decoded(tmp_path):
    image = Image.fromarray(coarse_pixels(400, 500))
    image.save(tmp_path / "a.jpg")
    image.save(tmp_path / "progressive.jpg", progressive=True)  # its decoder holds all of it
    limit = {"max_megapixels": 0.1}
    assert read_image(tmp_path / "a.jpg", (20, 30), **limit).shape == (20, 30, 3)
    for name, size in (("a", (200, 300)), ("progressive", (20, 30))):
        with pytest.raises(ValueError, match="500x400 pixels are 0.2 million, above the limit"):
            read_image(tmp_path / f"{name}.jpg", size, **limit)


_PEAK_OF_READING = """
import sys
import PIL.JpegImagePlugin, PIL.PngImagePlugin
from keras_convnextv2.data.decoding import read_image
def peak():
    (line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
before = peak()
for path in sys.argv[1:]:
    read_image(path, (224, 224))
    print(peak() - before)
"""


def test_the_memory_of_one_picture_is_bounded(tmp_path):
    image = Image.new("RGB", (6000, 4000), (200, 30, 90))
    image.save(tmp_path / "a.jpg")
    image.save(tmp_path / "a.png", compress_level=1)
    # Importing Keras takes most of the time: the picture that takes less memory comes first.
    done = run_python("-c", _PEAK_OF_READING, tmp_path / "a.jpg", tmp_path / "a.png")
    assert done.returncode == 0, done.stderr
    reduced, whole = map(float, done.stdout.split())
    assert reduced < 20 and 80 < whole < 140  # once 96 MB, and not twice


def test_array_channels_are_resized_each_like_a_grey_image():
    array = np.random.default_rng(0).integers(0, 256, (8, 20, 2)).astype("uint8")
    resized = frame_array(array, Cover((4, 10)))
    for channel in range(2):
        expected = Image.fromarray(array[..., channel]).resize((10, 4), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(resized[..., channel], np.asarray(expected))
