import dataclasses

import numpy as np
import pytest
from PIL import Image

from keras_convnextv2.data import Cover, open_source
from keras_convnextv2.data.decoding import read_image
from keras_convnextv2.data.image_memory import reduce

pytestmark = pytest.mark.one_backend


@dataclasses.dataclass(frozen=True)
class Part:
    """A fixed box, or with `moves` one that is drawn."""

    image_size: tuple
    edges: tuple
    moves: bool = False

    def box(self, width, height, rng=None):
        left, top, right, bottom = self.edges
        shift = rng.integers(0, 5) if self.moves else 0
        return left + shift, top, right + shift, bottom


@pytest.mark.parametrize(
    ("image_size", "stored", "box"),
    [
        ((4, 4), (20, 8), (6, 0, 14, 8)),  # a wide picture loses left and right
        ((4, 4), (8, 20), (0, 6, 8, 14)),
        ((2, 6), (30, 10), (0, 0, 30, 10)),  # of the same proportions: all of it
        ((30, 10), (10, 10), (10 / 3, 0, 20 / 3, 10)),  # enlarged three times
    ],
)
def test_cover_takes_the_largest_box_of_the_proportions_in_the_middle(image_size, stored, box):
    # A third is no float.
    np.testing.assert_allclose(Cover(image_size).box(*stored), box, rtol=1e-12)


@pytest.mark.parametrize("size", [(0, 4), (4,), (2, 3, 4)])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(ValueError, match="must be .H, W. in pixels. Received"):
        Cover(size)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_is_one_of_the_upright_picture(tmp_path, orientation, ending):
    exif = Image.Exif()
    exif[274] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype("uint8")
    path = tmp_path / f"a.{ending}"
    Image.fromarray(pixels).save(path, exif=exif)
    height, width = (40, 24) if orientation > 4 else (24, 40)
    whole = read_image(path, (height, width))
    part = read_image(path, Part((7, 11), (5, 3, 16, 10)))  # of the same scale: a cut
    np.testing.assert_array_equal(part, whole[3:10, 5:16])


def test_a_drawn_box_follows_from_the_generator(tmp_path, write_image, write_npz):
    pixels = write_image(tmp_path / "files" / "cat" / "a.png", (10, 30))
    write_npz(tmp_path / "arrays", "train", images=np.stack([pixels] * 2), labels=None)
    framing = Part((4, 6), (2, 1, 8, 5), moves=True)
    expected = {pixels[1:5, 2 + shift : 8 + shift].tobytes() for shift in range(5)}
    source = open_source(tmp_path / "files", "train")
    read = [source.read_one(0, framing, np.random.default_rng(seed)) for seed in range(40)]
    assert {image.tobytes() for image in read} == expected
    again = source.read_one(0, framing, np.random.default_rng(7))
    np.testing.assert_array_equal(read[7], again)


def test_an_array_is_framed_as_a_file_is(tmp_path, write_npz):
    images = write_npz(tmp_path, "train", count=3)["images"]
    source = open_source(tmp_path, "train")
    image = source.read_one(2, Part((3, 4), (1, 2, 5, 5)))
    np.testing.assert_array_equal(image, images[2, 2:5, 1:5])
    whole = source.read_one(1, (5, 7))
    whole[:] = 0  # not the source's own
    np.testing.assert_array_equal(source.read_one(1, (5, 7)), images[1])


@pytest.mark.parametrize(
    ("edges", "square"),
    [
        ((0, 0, 400, 240), 4),  # ten and twelve times the size: an eighth would leave too little
        ((0, 0, 159.9, 240), 1),  # not quite four times as wide
        ((10, 10, 170, 90), 2),  # just four times
        ((0, 0, 640, 80), 2),
        ((80, 0, 400, 160), 4),
    ],
)
def test_a_jpeg_is_reduced_as_long_as_the_box_keeps_twice_the_size(tmp_path, edges, square):
    Image.new("RGB", (640, 320)).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert reduce(image, (40, 20), edges, max_megapixels=1) == square
        assert image.size == (640 // square, 320 // square)


def test_exact_decoding_reads_a_jpeg_at_full_scale(tmp_path):
    coarse = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype("uint8")
    (tmp_path / "cat").mkdir()
    Image.fromarray(coarse.repeat(20, 0).repeat(20, 1)).save(tmp_path / "cat" / "a.jpg")
    Image.open(tmp_path / "cat" / "a.jpg").save(tmp_path / "a.png")
    source = open_source(tmp_path / "cat", "train")
    exact = dataclasses.replace(source, exact_decoding=True).read_one(0, (24, 24))
    np.testing.assert_array_equal(exact, read_image(tmp_path / "a.png", (24, 24)))
    reduced = source.read_one(0, (24, 24))
    assert np.any(reduced != exact)
    np.testing.assert_array_equal(reduced, source.read_one(0, (24, 24)))
    # Another filter: about one level of 255 on pictures, more at these edges.
    assert np.abs(reduced.astype(int) - exact).mean() < 2
