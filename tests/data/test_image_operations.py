from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_convnextv2.data.image_operations import OPERATIONS, apply_operation
from tests.golden import make_augmentation_golden as golden

pytestmark = pytest.mark.one_backend

BY_TABLE = ("Equalize", "Invert", "Posterize", "Solarize", "SolarizeAdd")  # level for level


@pytest.fixture(scope="module")
def pictures():
    with np.load(Path(golden.__file__).with_name("augmentation.npz")) as file:
        return dict(file)


def difference(pictures, name, golden_name, resampling="BICUBIC"):
    picture = Image.fromarray(pictures["picture"])
    found = apply_operation(name, picture, golden.OPERATIONS[name], golden.FILL, resampling)
    return np.abs(np.asarray(found).astype("int32") - pictures[golden_name])


def test_the_golden_picture_is_of_every_operation():
    assert list(golden.OPERATIONS) == list(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_gives_the_golden_picture(pictures, name):
    # Pillow cuts where NumPy rounds: a level.
    assert difference(pictures, name, name).max() <= (0 if name in BY_TABLE else 1)
    assert np.any(pictures["picture"] != pictures[name])


def test_a_rotation_may_be_bilinear(pictures):
    assert difference(pictures, "Rotate", "Rotate, bilinear", "BILINEAR").max() <= 1
    assert difference(pictures, "Rotate", "Rotate", "BILINEAR").max() > 10


@pytest.mark.parametrize(
    ("name", "argument", "expected"),
    [
        ("Posterize", 8, [0, 1, 127, 128, 254, 255]),
        ("Posterize", 0, [0] * 6),
        ("Solarize", 256, [0, 1, 127, 128, 254, 255]),
        ("Solarize", 0, [255, 254, 128, 127, 1, 0]),
        ("SolarizeAdd", 128, [128, 129, 255, 128, 254, 255]),
    ],
)
def test_the_ends_of_a_range(name, argument, expected):
    levels = np.array([[0, 1, 127, 128, 254, 255]], "uint8")
    for image in (levels, np.stack([levels] * 3, axis=-1)):
        found = np.asarray(apply_operation(name, Image.fromarray(image), argument, 0, "BICUBIC"))
        np.testing.assert_array_equal(found.reshape(6, -1)[:, 0], expected)
