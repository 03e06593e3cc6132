import dataclasses
import pathlib

import numpy as np
import pytest

# Four stages of a few channels: a run takes seconds on every backend.
TINY = ("--depths=1,1,1,1", "--widths=4,6,8,12", "--stem_stride=1", "--decoder_width=8")


@pytest.fixture(scope="session")
def run_recipe(run_program):
    """Runs `python -m recipes.NAME FLAGS...` in this process."""
    return lambda name, *words: run_program(f"recipes.{name}", *words)


@pytest.fixture
def images_dir(tmp_path):
    """A folder of images that the test may change; see `write_images`."""
    return write_images(tmp_path / "images")


@pytest.fixture(scope="session")
def shared_images_dir(tmp_path_factory):
    """The same images, which no test may change."""
    return write_images(tmp_path_factory.mktemp("shared") / "images")


def write_images(folder):
    """train.npz and test.npz of random 16x24 images in three classes."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    for split, count in (("train", 24), ("test", 9)):
        np.savez(
            folder / f"{split}.npz",
            images=generator.integers(0, 256, (count, 16, 24, 3), dtype="uint8"),
            labels=np.arange(count, dtype="int32") % 3,
            class_names=np.array(["boot", "coat", "dress"]),
            mean=np.full(3, 0.5, "float32"),
            std=np.full(3, 0.3, "float32"),
        )
    return folder


@pytest.fixture
def tiny_run(images_dir):
    """Flags of a run of seconds, but for --output_dir."""
    return flags_of_a_run(images_dir)


def flags_of_a_run(images_dir):
    return (*TINY, f"--data_dir={images_dir}", "--image_size=16x24", "--batch_size=8", "--epochs=2")


@dataclasses.dataclass(frozen=True)
class Run:
    """What a recipe left in its folder, and what it said. No test may change the folder."""

    folder: pathlib.Path
    outcome: object


@pytest.fixture(scope="session")
def pretrained(run_recipe, shared_images_dir):
    """A run of recipes.pretrain on `shared_images_dir`."""
    folder = shared_images_dir.parent / "pretrained"
    words = (*flags_of_a_run(shared_images_dir), f"--output_dir={folder}", "--json")
    outcome = run_recipe("pretrain", *words)
    assert outcome.status == 0, outcome.err
    return Run(folder, outcome)


@pytest.fixture(scope="session")
def finetuned(run_recipe, shared_images_dir):
    """A run of recipes.finetune on `shared_images_dir`, at a rate at which it learns."""
    folder = shared_images_dir.parent / "finetuned"
    words = [word for word in flags_of_a_run(shared_images_dir) if "decoder" not in word]
    outcome = run_recipe(
        "finetune", *words, f"--output_dir={folder}", "--learning_rate=0.02", "--json"
    )
    assert outcome.status == 0, outcome.err
    return Run(folder, outcome)
