import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_image():
    """Writes random RGB pixels to a path, makes its folders, and returns the pixels (H, W, 3)."""

    def write(path, size=(6, 9), seed=0, **options):
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype("uint8")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **options)
        return pixels

    return write


@pytest.fixture
def write_npz():
    """Writes `<split>.npz` with two classes of 5x7 images with 2 channels, and returns its arrays.

    Keywords replace arrays; None leaves one out.
    """

    def write(folder, split, count=8, seed=0, **changes):
        generator = np.random.default_rng(seed)
        arrays = {
            "images": generator.integers(0, 256, (count, 5, 7, 2)).astype("uint8"),
            "labels": (np.arange(count) % 2).astype("uint8"),
            "class_names": np.array(["bag", "boot"]),
            "mean": np.array([0.25, 0.5], "float32"),
            "std": np.array([0.125, 0.25], "float32"),
        }
        arrays = {key: value for key, value in {**arrays, **changes}.items() if value is not None}
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(folder / f"{split}.npz", **arrays)
        return arrays

    return write
