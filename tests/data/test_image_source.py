import numpy as np
import pytest

from keras_convnextv2.data import ImageSourceError, open_source
from keras_convnextv2.data.image_source import spread

pytestmark = pytest.mark.one_backend


@pytest.fixture
def source(tmp_path, write_npz):
    """12 images of class bag, 8 of boot."""
    labels = np.array([0, 0, 1, 0, 1] * 4)
    write_npz(tmp_path, "train", count=20, labels=labels)
    return open_source(tmp_path, "train")


def test_subset_has_as_many_labels_of_each_class(source):
    subset = source.labels_per_class(3, seed=0)
    assert np.bincount(subset.labels).tolist() == [3, 3]
    assert subset.class_names == source.class_names
    assert subset.native_size == source.native_size
    assert subset.description == f"{source.description}, of these 3 a class by seed 0"


def test_subset_keeps_images_and_labels_together(source):
    subset = source.labels_per_class(5, seed=1)
    label_of = {
        image.tobytes(): label for image, label in zip(source.records, source.labels, strict=True)
    }
    images = subset.read(range(10), (5, 7))
    assert [label_of[image.tobytes()] for image in images] == subset.labels.tolist()
    assert len({image.tobytes() for image in images}) == 10


def test_subset_follows_from_the_seed(source):
    first, again, other = (source.labels_per_class(4, seed=seed).records for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_larger_subset_includes_the_smaller_one(source):
    smaller, larger = (
        {image.tobytes() for image in source.labels_per_class(count, seed=3).records}
        for count in (2, 6)
    )
    assert smaller < larger


def test_subset_of_files_reads_their_images(tmp_path, write_image):
    for name in ("ant", "cat"):
        for number in range(4):
            write_image(tmp_path / "train" / name / f"{number}.png")
    subset = open_source(tmp_path, "train").labels_per_class(2, seed=0)
    assert subset.labels.tolist() == [0, 0, 1, 1]
    assert subset.read(range(4), (5, 6)).shape == (4, 5, 6, 3)


def test_too_few_images_of_a_class_are_named_and_counted(source):
    with pytest.raises(ImageSourceError, match="class 'boot' has 8 images, but 9 a class"):
        source.labels_per_class(9, seed=0)


def test_subset_without_labels_is_refused(tmp_path, write_npz):
    write_npz(tmp_path, "train", labels=None, class_names=None)
    with pytest.raises(ImageSourceError, match="there are no labels to take 2 a class of"):
        open_source(tmp_path, "train").labels_per_class(2, seed=0)


def test_no_labels_a_class_are_refused(source):
    with pytest.raises(ImageSourceError, match="must be 1 or more. Received: 0"):
        source.labels_per_class(0, seed=0)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("num_images", "count", "places"),
    [(9, 3, [0, 4, 8]), (10, 4, [0, 3, 6, 9]), (3, 8, [0, 1, 2]), (5, 1, [0])],
)
def test_some_of_many_images_are_spread_from_first_to_last(num_images, count, places):
    assert spread(num_images, count).tolist() == places
