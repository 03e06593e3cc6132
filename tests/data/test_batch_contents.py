"""What ImageBatches puts into a batch: balanced classes, soft labels, and no unreadable images."""

import collections
import dataclasses
import sys

import numpy as np
import pytest

from keras_convnextv2.data import HorizontalFlip, ImageBatches, ImageSourceError, open_source
from keras_convnextv2.data.epoch_order import balanced_order

pytestmark = pytest.mark.one_backend


@pytest.fixture
def unbalanced(tmp_path, write_npz):
    """30 images: 3 of class 0, 20 of class 1, 7 of class 2."""
    labels = np.repeat([0, 1, 2], [3, 20, 7])
    names = np.array(["ant", "bee", "cow"])
    write_npz(tmp_path, "train", count=30, labels=labels, class_names=names)
    return open_source(tmp_path, "train")


def test_balanced_order_has_each_class_once_before_any_comes_again(unbalanced):
    labels = unbalanced.labels
    order = balanced_order(labels, 5, 0)
    assert [set(labels[order[start : start + 3]]) for start in range(0, 30, 3)] == [{0, 1, 2}] * 10
    for label, size in enumerate((3, 20, 7)):
        of_class = order[labels[order] == label]
        counts = collections.Counter(of_class.tolist())
        assert max(counts.values()) - min(counts.values()) <= 1
        assert len(counts) == min(size, 10)
    assert np.any(order != balanced_order(labels, 5, 1))
    assert np.any(order != balanced_order(labels, 6, 0))


def test_balanced_order_shows_all_images_of_a_large_class_in_time(unbalanced):
    seen = {
        int(index) for epoch in range(15) for index in balanced_order(unbalanced.labels, 0, epoch)
    }
    # Each epoch shows half of the 20; one is left out by 15 epochs once in 2^15 / 20 = 1600 seeds.
    assert seen == set(range(30))


def test_balanced_batches_hold_as_many_of_each_class(unbalanced):
    options = {"labelled": True, "shuffle": True, "sampling": "balanced", "workers": 2}
    batches = ImageBatches(unbalanced, (5, 7), 6, **options)
    for images, labels in batches:
        assert np.bincount(labels).tolist() == [2, 2, 2]
        for image, label in zip(images, labels, strict=True):
            of_class = unbalanced.read(np.flatnonzero(unbalanced.labels == label), (5, 7))
            stored = np.round((image * unbalanced.std + unbalanced.mean) * 255)
            assert any(np.array_equal(stored, other) for other in of_class)


def test_smoothed_labels_spread_their_share_over_all_classes(unbalanced):
    batches = ImageBatches(unbalanced, (5, 7), 30, labelled=True, label_smoothing=0.3)
    ((_, labels),) = batches
    assert labels.dtype == "float32"
    expected = 0.7 * np.eye(3)[unbalanced.labels] + 0.1  # .3 / 3
    np.testing.assert_allclose(labels, expected, rtol=1e-6)  # float32


def test_batch_transforms_are_given_soft_labels_in_their_order(unbalanced):
    def first(images, labels, rng):
        assert labels.dtype == "float32" and set(np.unique(labels)) == {0, 1}
        return images + 1, labels * 0.5

    def second(images, labels, rng):
        return images * 2, labels + 1

    options = {"labelled": True, "shuffle": True}
    plain = ImageBatches(unbalanced, (5, 7), 8, **options)
    mixed = ImageBatches(unbalanced, (5, 7), 8, **options, batch_transforms=[first, second])
    for (images, labels), (changed, soft) in zip(plain, mixed, strict=True):
        np.testing.assert_array_equal(changed, (images + 1) * 2)
        np.testing.assert_array_equal(soft, np.eye(3)[labels] * 0.5 + 1)


def test_several_labels_an_image_are_given_as_they_are(unbalanced):
    several = np.random.default_rng(0).integers(0, 2, (30, 3)).astype("float32")
    source = dataclasses.replace(unbalanced, labels=several)
    for options in ({}, {"batch_transforms": [lambda images, labels, rng: (images, labels)]}):
        ((_, labels),) = ImageBatches(source, (5, 7), 30, labelled=True, **options)
        np.testing.assert_array_equal(labels, several)
    ((_, smooth),) = ImageBatches(source, (5, 7), 30, labelled=True, label_smoothing=0.1)
    np.testing.assert_allclose(smooth, several * 0.9 + 0.05, rtol=1e-6)  # between yes and no
    with pytest.raises(ValueError, match="There are several labels an image: 30"):
        ImageBatches(source, (5, 7), 30, labelled=True, sampling="balanced", shuffle=True)


@pytest.mark.parametrize(
    ("kind", "transform", "received"),
    [
        ("transforms", lambda image, rng: image[:4], "must return uint8 .*uint8 .4, 7, 2."),
        ("transforms", lambda image, rng: image / 2, "must return uint8 .*float64 .5, 7, 2."),
        (
            "normalised_transforms",
            lambda image, rng: image * np.ones(2),
            "must return float32 .*float64",
        ),
    ],
)
def test_a_transform_that_changes_shape_or_dtype_is_refused(unbalanced, kind, transform, received):
    batches = ImageBatches(unbalanced, (5, 7), 4, labelled=True, **{kind: [transform]})
    with pytest.raises(ValueError, match=f"A transform {received}"):
        batches[0]


@pytest.fixture
def damaged(tmp_path, write_image):
    """12 files in two classes, of which 03 and 08 cannot be read."""
    for number in range(12):
        path = tmp_path / "train" / ("ant" if number < 6 else "bee") / f"{number:02}.png"
        write_image(path, (5, 7), seed=number)
        if number in (3, 8):
            path.write_bytes(b"broken")
    return open_source(tmp_path, "train")


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_bad_images_are_passed_over_counted_and_replaced_alike(damaged, workers):
    options = {"labelled": True, "shuffle": True, "max_bad_images": 2}
    options["transforms"] = [HorizontalFlip()]
    plain = ImageBatches(damaged, (5, 7), 4, **options)
    expected = list(plain)
    batches = ImageBatches(damaged, (5, 7), 4, **options, workers=workers)
    found = list(batches)
    assert batches.num_bad == 2
    assert sorted(name[-6:] for name in batches.bad_images) == ["03.png", "08.png"]
    assert all("cannot identify" in reason for reason in batches.bad_images.values())
    resumed = ImageBatches(damaged, (5, 7), 4, **options)
    resumed.restore(batches.state())
    assert resumed.bad_images == batches.bad_images  # they count towards the same limit
    for (images, labels), (other_images, other_labels) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)
        for image, label in zip(images, labels, strict=True):  # an image has its own label
            stored = np.round((image * damaged.std + damaged.mean) * 255)
            readable = [n for n in np.flatnonzero(damaged.labels == label) if n not in (3, 8)]
            sides = [
                side
                for pixels in damaged.read(readable, (5, 7))
                for side in (pixels, pixels[:, ::-1])
            ]
            assert any(np.array_equal(stored, side) for side in sides)


def test_more_bad_images_than_allowed_are_an_error_that_names_all(damaged):
    batches = ImageBatches(damaged, (5, 7), 12, labelled=True, max_bad_images=1)
    message = r"2 of 12 images cannot be read, more than the 1 that .*03\.png \(.*08\.png \("
    with pytest.raises(ImageSourceError, match=message) as caught:
        batches[0]
    assert batches.error is caught.value


def test_where_nothing_can_be_read_there_is_nothing_to_replace_it(tmp_path, write_image):
    for number in range(3):
        write_image(tmp_path / "train" / "ant" / f"{number}.png")
    source = open_source(tmp_path, "train")
    for number in range(3):
        (tmp_path / "train" / "ant" / f"{number}.png").write_bytes(b"broken")
    batches = ImageBatches(source, (5, 7), 3, labelled=True, max_bad_images=10)
    with pytest.raises(ImageSourceError, match=r"3 of 3 images cannot be read: .*0\.png"):
        batches[0]


def test_missing_grain_is_named_with_its_extra(unbalanced, monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(
        ImageSourceError, match=r"the package grain draws.*keras-convnextv2\[recipes"
    ):
        ImageBatches(unbalanced, (5, 7), 4, labelled=True)
