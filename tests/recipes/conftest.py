import numpy as np
import pytest

# Four stages of a few channels: a run takes seconds on every backend.
TINY = ("--depths=1,1,1,1", "--widths=4,6,8,12", "--stem_stride=1", "--decoder_width=8")


@pytest.fixture
def run_recipe(run_program):
    """Runs `python -m recipes.NAME FLAGS...` in this process."""
    return lambda name, *words: run_program(f"recipes.{name}", *words)


@pytest.fixture
def images_dir(tmp_path):
    """train.npz and test.npz of random 16x24 images in three classes."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "images"
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
def tiny_run(images_dir, tmp_path):
    """Flags of a run of seconds, but for --output_dir."""
    return (*TINY, f"--data_dir={images_dir}", "--image_size=16x24", "--batch_size=8", "--epochs=2")
