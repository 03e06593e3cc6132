"""Pictures that go, change or fail while a training runs or is stopped: a clear end, no loss."""

import json
import os
import shutil
import sys

import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.data import ImageSourceError
from keras_convnextv2.data.image_source import UnreadableImageError
from keras_convnextv2.runs import CheckpointError, checkpoint_folder
from tests.reference.processes import run_python
from tests.runs.picture_training import (
    STEPS,
    AtStep,
    fit,
    make_batches,
    make_fcmae,
    values_of,
    write_picture,
    write_pictures,
)

pytestmark = pytest.mark.one_backend


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """(values that a training ends with that nothing disturbed, its pictures, its weights)."""
    folder = tmp_path_factory.mktemp("straight")
    pictures = write_pictures(folder / "pictures")
    model = fit(make_batches(pictures), folder / "run")
    return values_of(model), pictures, [weight.numpy() for weight in model.trainable_weights]


@pytest.fixture
def pictures(straight, tmp_path):
    """A copy of them that a test may change."""
    return shutil.copytree(straight[1], tmp_path / "pictures")


def replace(make):
    def do(path):
        path.unlink()
        make(path)

    return do


FAULTS = {
    "deleted": (lambda path: path.unlink(), "FileNotFoundError"),
    "random bytes": (lambda path: path.write_bytes(os.urandom(500)), "cannot identify image file"),
    "nothing in it": (lambda path: path.write_bytes(b""), "the file is empty"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:200]), "OSError"),
    "a folder": (replace(os.mkdir), "it is a folder, not a file"),
    "a named pipe": (replace(os.mkfifo), "it is a named pipe, not a file"),
    "a link to a device": (
        replace(lambda path: path.symlink_to("/dev/zero")),
        "it is a device, not a file",
    ),
    "a link to a text": (replace(lambda path: path.symlink_to(__file__)), "cannot identify"),
    # Its first page is not there to be read, which is an error of the device, as of a bad disk.
    "a failing disk": (
        replace(lambda path: path.symlink_to("/proc/self/mem")),
        "Input/output error",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_picture_that_fails_ends_the_training_and_costs_nothing_saved(
    straight, pictures, tmp_path, fault
):
    do, reason = FAULTS[fault]
    batches, folder = make_batches(pictures), tmp_path / "run"
    batches.epoch = 1
    path = type(pictures)(batches.names(STEPS - 1)[0])  # of the last batch of all
    kept = path.read_bytes()
    with pytest.raises(UnreadableImageError, match=reason) as caught:
        fit(batches, folder, AtStep(2, lambda: do(path)))
    assert str(path) in str(caught.value) and batches.error is caught.value
    newest = kc.runs.newest_checkpoint(folder)
    # Nothing but the step of the picture is missing, and those read ahead of it.
    assert newest.name >= "step-00000004"
    checkpoint_folder.open_checkpoint(newest)
    path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
    path.write_bytes(kept)
    for value, expected in zip(
        values_of(fit(make_batches(pictures), folder)), straight[0], strict=True
    ):
        np.testing.assert_array_equal(value, expected)


def stopped(pictures, folder):
    """A training that was stopped after the first step of its second epoch."""

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(make_batches(pictures), folder, AtStep(STEPS + 2, stop))
    assert kc.runs.newest_checkpoint(folder).name == f"step-{STEPS + 1:08d}"


CHANGES = {
    "another picture": (
        lambda folder: write_picture(folder / "bolt" / "2.png", 9, (30, 40)),
        "images of other contents",
    ),
    "one of the same size": (
        lambda folder: flip_a_bit(folder / "bolt" / "2.png"),
        "images of other contents",
    ),
    "another name": (
        lambda folder: (folder / "bolt" / "2.png").rename(folder / "bolt" / "20.png"),
        "images of other names",
    ),
    "another class": (
        lambda folder: (folder / "bolt" / "2.png").rename(folder / "nut" / "2.png"),
        "images of other names and labels and contents",
    ),
    "two more": (  # every fifth of a class is not trained on
        lambda folder: [write_picture(folder / "nut" / f"{n}.png", n) for n in (8, 9)],
        r"num_images \d+ instead of \d+",
    ),
}


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-30] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("change", CHANGES)
def test_other_pictures_between_stop_and_start_are_noticed(pictures, tmp_path, change, capfd):
    do, message = CHANGES[change]
    stopped(pictures, tmp_path / "run")
    do(pictures)
    model = make_fcmae()
    before = values_of(model)
    with pytest.raises(CheckpointError, match=message) as caught:
        fit(make_batches(pictures), tmp_path / "run", model=model)
    assert "allow_changes=True (--allow_changed_settings" in str(caught.value)
    for value, expected in zip(values_of(model), before, strict=True):
        np.testing.assert_array_equal(value, expected)
    if change != "another picture":
        return
    fit(make_batches(pictures), tmp_path / "run", allow_changes=True)
    assert "from its first batch, since the images are others" in capfd.readouterr().err


def test_a_folder_that_was_moved_has_the_same_pictures(straight, pictures, tmp_path):
    stopped(pictures, tmp_path / "run")
    moved = pictures.rename(tmp_path / "elsewhere")
    found = values_of(fit(make_batches(moved), tmp_path / "run"))
    for value, expected in zip(found, straight[0], strict=True):
        np.testing.assert_array_equal(value, expected)


def test_a_checkpoint_of_before_fingerprints_is_gone_on_from(pictures):
    batches = make_batches(pictures)
    state = batches.state(batch=2)
    del state["images"]
    batches.restore(state)
    assert len(batches) == STEPS - 2


@pytest.mark.parametrize("change", [{"batch": STEPS}, {"epoch": -1}, {"bad_images": 3}])
def test_a_state_of_no_batch_is_refused(pictures, change):
    batches = make_batches(pictures)
    with pytest.raises(ValueError, match="The state is of no batch"):
        batches.restore({**batches.state(), **change})


def test_pictures_that_go_during_a_training_may_be_passed_over(pictures, tmp_path):
    batches = make_batches(pictures, max_bad_images=1)
    batches.epoch = 1
    path = batches.names(STEPS - 1)[0]
    fit(batches, tmp_path / "run", AtStep(2, lambda: os.unlink(path)))
    assert list(batches.bad_images) == [path] and "FileNotFound" in batches.bad_images[path]
    batches = make_batches(write_pictures(tmp_path / "others"), max_bad_images=1)
    both = [batches.names(batch)[0] for batch in (2, 3)]
    for path in both:
        os.unlink(path)
    with pytest.raises(ImageSourceError, match="2 of 8 images cannot be read, more than the 1"):
        fit(batches, tmp_path / "other")


@pytest.mark.skipif(sys.platform != "linux", reason="it gives up rights as Linux has them")
def test_rights_that_are_taken_away_end_the_training_and_cost_nothing_saved(straight, tmp_path):
    done = run_python("tests/reference/without_rights.py", tmp_path, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    picture, read_only, again, new = json.loads(done.stdout.splitlines()[-1]).values()
    assert picture.startswith("UnreadableImageError: ") and "PermissionError" in picture
    assert ".png cannot be read" in picture
    assert read_only.startswith("PermissionError: ") and str(tmp_path / "run") in read_only
    assert new.startswith("PermissionError: ") and str(tmp_path / "new") in new
    # With its rights again, the folder that could not be written to is gone on in.
    assert again is None
    (_, path), *_ = checkpoint_folder.checkpoints_in(tmp_path / "run")
    weights = kc.from_preset(path).trainable_weights
    for weight, expected in zip(weights, straight[2], strict=True):
        np.testing.assert_array_equal(weight.numpy(), expected)
