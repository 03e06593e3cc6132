import numpy as np
import pytest
from PIL import Image

from keras_convnextv2.data import ResizeThenCrop

pytestmark = pytest.mark.one_backend


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((512, 512), (32, 32, 480, 480)),
        # Resized to 341x256 (341.33 cut), cropped from column 58 (58.5, even) and row 16.
        ((500, 375), (58 * 500 / 341, 16 * 375 / 256, 282 * 500 / 341, 240 * 375 / 256)),
        ((375, 500), (16 * 375 / 256, 58 * 500 / 341, 240 * 375 / 256, 282 * 500 / 341)),
        ((64, 64), (4, 4, 60, 60)),  # enlarged four times
    ],
)
def test_at_224_the_shorter_side_becomes_256_and_the_centre_is_taken(size, box):
    np.testing.assert_allclose(ResizeThenCrop((224, 224)).box(*size), box, rtol=1e-12)


def test_an_oblong_size_is_covered():
    # (120, 200) / 0.8 is (150, 250); 900x600 just covers it as 250x166.
    left, top, right, bottom = ResizeThenCrop((120, 200), 0.8).box(900, 600)
    np.testing.assert_allclose((left, right), (25 * 3.6, 225 * 3.6), rtol=1e-12)
    np.testing.assert_allclose((top, bottom), (23 * 600 / 166, 143 * 600 / 166), rtol=1e-12)


@pytest.mark.parametrize("size", [(61, 47), (40, 150), (33, 33)])
def test_the_box_resized_at_once_is_the_picture_resized_and_cropped(size):
    """The official way, in two steps, with torchvision's rounding."""
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 5, 3)).astype("uint8"))
    picture = coarse.resize(size, Image.Resampling.BICUBIC)
    width, height = size
    short = int(24 / 0.75)
    resized_size = (short, int(short * height / width))
    if width > height:
        resized_size = (int(short * width / height), short)
    resized = picture.resize(resized_size, Image.Resampling.BICUBIC)
    left, top = (round((side - 24) / 2) for side in resized_size)
    expected = np.asarray(resized.crop((left, top, left + 24, top + 24))).astype("int32")
    box = ResizeThenCrop((24, 24), 0.75).box(*size)
    found = np.asarray(picture.resize((24, 24), Image.Resampling.BICUBIC, box=box)).astype("int32")
    # Pillow keeps boxes in float32, and rounds twice; a shift by a pixel makes tens of levels.
    assert np.abs(found - expected).max() <= 1


def test_a_fraction_of_one_squeezes_the_whole_picture():
    assert ResizeThenCrop((384, 384), 1.0).box(500, 333) == (0, 0, 500, 333)
    assert ResizeThenCrop((100, 300), 1.0).box(40, 990) == (0, 0, 40, 990)


def test_the_paper_crops_below_384_pixels_and_squeezes_from_there_on():
    assert ResizeThenCrop.as_in_paper((224, 224)) == ResizeThenCrop((224, 224), 0.875)
    assert ResizeThenCrop.as_in_paper([383, 512]) == ResizeThenCrop((383, 512), 0.875)
    assert ResizeThenCrop.as_in_paper((384, 384)) == ResizeThenCrop((384, 384), 1.0)
    assert ResizeThenCrop.as_in_paper((512, 512)) == ResizeThenCrop((512, 512), 1.0)


def test_boxes_lie_inside_whatever_the_size():
    rng = np.random.default_rng(0)
    for _ in range(500):
        width, height, *image_size = (int(side) for side in rng.integers(1, 700, 4))
        fraction = rng.uniform(0.05, 1)
        left, top, right, bottom = ResizeThenCrop(image_size, fraction).box(width, height)
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height


@pytest.mark.parametrize("fraction", [0, -0.5, 1.1, float("nan")])
def test_a_fraction_that_cannot_be_is_refused(fraction):
    with pytest.raises(ValueError, match=r"`crop_fraction` must be above 0 and up to 1. Received"):
        ResizeThenCrop((24, 24), fraction)
