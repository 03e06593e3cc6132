import numpy as np
import pytest

from keras_convnextv2.data import ImageSourceError, NoSuchSplitError, open_source

pytestmark = pytest.mark.one_backend


@pytest.fixture
def write_splits(tmp_path, write_image):
    def write(**counts):
        """Writes so many images of two classes into the folders of these names."""
        for folder, count in counts.items():
            for name in ("ant", "bee"):
                for number in range(count):
                    write_image(tmp_path / folder / name / f"{folder}{number}.png", (5, 7))
        return tmp_path

    return write


def names_in(source):
    return sorted({path.rpartition("/")[2].rstrip("0123456789.png") for path in source.records})


@pytest.mark.parametrize("name", ["val", "validation", "VALID_set"])
def test_validation_is_a_split_of_its_own_beside_test(write_splits, name):
    folder = write_splits(train=3, test=2, **{name: 1})
    validation, test = (open_source(folder, split) for split in ("validation", "test"))
    assert (len(validation), len(test)) == (2, 4)
    assert all(f"/{name}/" in path for path in validation.records)
    assert all("/test/" in path for path in test.records)
    assert validation.class_names == test.class_names


@pytest.mark.parametrize("empty_test", [False, True])
def test_validation_that_is_the_test_split_is_refused_as_such(write_splits, empty_test):
    folder = write_splits(train=3, val=2)
    if empty_test:
        (folder / "test").mkdir()
    assert len(open_source(folder, "test")) == 4
    with pytest.raises(
        NoSuchSplitError, match=r"no validation split: .*val is its test split.*\.spl"
    ):
        open_source(folder, "validation")


def test_classes_of_validation_must_be_those_of_training(write_splits, write_image):
    folder = write_splits(train=3, test=2)
    write_image(folder / "val" / "cow" / "1.png")
    with pytest.raises(
        ImageSourceError, match="classes of .*val differ .* not in train: 'cow'"
    ) as caught:
        open_source(folder, "validation")
    assert not isinstance(caught.value, NoSuchSplitError)  # it is there, and wrong


def test_without_a_validation_folder_the_way_to_one_is_named(write_splits, tmp_path, write_npz):
    for folder in (write_splits(train=3, test=2), write_splits(train=3) / "train"):
        with pytest.raises(NoSuchSplitError, match="no validation split.*hold out some"):
            open_source(folder, "validation")
    write_npz(tmp_path / "arrays", "train")
    with pytest.raises(NoSuchSplitError, match="has no validation split: .* no validation.npz"):
        open_source(tmp_path / "arrays", "validation")
    write_npz(tmp_path / "arrays", "validation", count=4)
    assert len(open_source(tmp_path / "arrays", "validation")) == 4


@pytest.fixture
def unbalanced(tmp_path, write_npz):
    """40 images of class 0, 10 of class 1, 2 of class 2, 1 of class 3."""
    labels = np.random.default_rng(0).permutation(np.repeat(range(4), (40, 10, 2, 1)))
    names = np.array(["ant", "bee", "cow", "dog"])
    write_npz(tmp_path, "train", count=53, labels=labels, class_names=names)
    return open_source(tmp_path, "train")


def pixels_of(source):
    return {record.tobytes() for record in source.records}


@pytest.mark.parametrize(("fraction", "counts"), [(0.2, [8, 2, 1, 0]), (0.01, [1, 1, 1, 0])])
def test_the_same_share_of_each_class_is_held_out(unbalanced, fraction, counts):
    # A class of one image keeps it: a model cannot learn what it is only tested on.
    left, held_out = unbalanced.split(fraction, seed=0)
    assert np.bincount(held_out.labels, minlength=4).tolist()[:3] == counts[:3]
    assert np.bincount(left.labels, minlength=4).tolist() == [
        40 - counts[0], 10 - counts[1], 2 - counts[2], 1
    ]  # fmt: skip
    assert pixels_of(left) | pixels_of(held_out) == pixels_of(unbalanced)
    assert not pixels_of(left) & pixels_of(held_out)
    label_of = {
        record.tobytes(): label
        for record, label in zip(unbalanced.records, unbalanced.labels, strict=True)
    }
    for part in (left, held_out):
        assert [label_of[record.tobytes()] for record in part.records] == part.labels.tolist()
    assert held_out.class_names == unbalanced.class_names
    share = f"{fraction} of them held out by seed 0"
    assert left.description.endswith(f"{share}: the {len(left)} others")
    assert held_out.description.endswith(f"{share}: these {len(held_out)}")


def test_what_is_held_out_follows_from_the_seed_and_grows_with_the_share(unbalanced):
    first, again, other = (unbalanced.split(0.3, seed=seed)[1] for seed in (1, 1, 2))
    assert pixels_of(first) == pixels_of(again) != pixels_of(other)
    assert pixels_of(first) < pixels_of(unbalanced.split(0.6, seed=1)[1])


def test_images_without_labels_are_held_out_too(tmp_path, write_npz):
    write_npz(tmp_path, "train", count=20, labels=None, class_names=None)
    left, held_out = open_source(tmp_path, "train").split(0.25, seed=0)
    assert (len(left), len(held_out), held_out.labels) == (15, 5, None)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_a_share_that_is_none_is_refused(unbalanced, fraction):
    with pytest.raises(ImageSourceError, match="must be between 0 and 1. Received"):
        unbalanced.split(fraction, seed=0)


def test_too_few_images_to_hold_any_out_are_refused(tmp_path, write_npz):
    write_npz(tmp_path, "train", count=2)
    with pytest.raises(ImageSourceError, match="no class has two images"):
        open_source(tmp_path, "train").split(0.5, seed=0)
