"""What a folder holds that is not read, and a folder that cannot have been meant."""

import numpy as np
import PIL.Image
import pytest

from tests.recipes.conftest import TINY
from tests.recipes.one_line import assert_one_line

pytestmark = pytest.mark.one_backend

WORDS = tuple(word for word in TINY if "decoder" not in word) + ("--image_size=16x24",)


def write_images(folder, count=10):
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 24, 3), "uint8")
        PIL.Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.fixture
def dry_run(run_recipe, tmp_path):
    def run(*more):
        words = (f"--data_dir={tmp_path / 'data'}", f"--output_dir={tmp_path / 'run'}", "--dry_run")
        return run_recipe("finetune", *WORDS, *words, "--batch_size=4", *more)

    return run


def test_what_is_passed_over_is_said_once(dry_run, tmp_path):
    for name in ("cat", "dog", "dog/__MACOSX"):
        write_images(tmp_path / "data" / name)
    (tmp_path / "data" / "cat" / "a.txt").write_text("words")
    outcome = dry_run()
    assert outcome.status == 0, outcome.err
    lines = [line for line in outcome.err.splitlines() if "passed over" in line]
    assert lines == [
        f"{tmp_path / 'data'}: passed over 1 file of other kinds (1 .txt) and 10 images in folders "
        "not meant ('dog/__MACOSX')."
    ]
    assert "Warning" not in outcome.err
    assert "16 images in 2 classes" in outcome.err


def test_one_class_alone_is_nothing_to_tell_apart(dry_run, tmp_path):
    write_images(tmp_path / "data" / "cat")
    assert_one_line(dry_run(), "finetune", "one class alone, 'cat'", "a folder a class")


def test_images_with_a_table_of_labels_have_none(dry_run, tmp_path):
    write_images(tmp_path / "data" / "images")
    (tmp_path / "data" / "labels.csv").write_text("0.png,cat")
    outcome = dry_run()
    assert_one_line(outcome, "finetune", "Labels are needed", "10 images without labels")
    assert "tables of them are not read" in outcome.err
