import numpy as np
import pytest

from keras_convnextv2.data import open_source

pytestmark = pytest.mark.one_backend


@pytest.fixture
def photographs(tmp_path):
    from PIL import Image

    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        for name in ("bolt", "nut"):
            (tmp_path / "photographs" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = np.random.default_rng(number).integers(0, 256, (5, 7, 3)).astype("uint8")
                path = tmp_path / "photographs" / split / name / f"{number}.png"
                Image.fromarray(pixels).save(path)
    return tmp_path / "photographs"


def test_a_folder_is_packed_with_all_its_splits_and_progress(run_program, photographs, tmp_path):
    words = (f"--data_dir={photographs}", f"--output_dir={tmp_path / 'packed'}")
    done = run_program("tools.pack_images", *words)
    assert done.status == 0, done.err
    assert done.out == "train: 6 images\nvalidation: 4 images\ntest: 2 images\n"
    assert "train: 6 of 6 images" in done.err
    for split in ("train", "validation", "test"):
        packed, files = (open_source(tmp_path / "packed", split), open_source(photographs, split))
        places = range(len(files))
        np.testing.assert_array_equal(packed.read(places, (5, 7)), files.read(places, (5, 7)))
        np.testing.assert_array_equal(packed.labels, files.labels)
    again = run_program("tools.pack_images", *words)
    assert again.status != 0 and "is not empty, and nothing is overwritten" in again.err


def test_a_folder_that_is_none_is_one_line(run_program, tmp_path):
    done = run_program("tools.pack_images", f"--data_dir={tmp_path / 'x'}", "--output_dir=packed")
    assert done.status != 0 and "x does not exist. Check the path." in done.err


def test_a_split_that_cannot_be_read_is_not_passed_over(run_program, photographs, tmp_path):
    (photographs / "val" / "nut").rename(photographs / "val" / "screw")
    words = (f"--data_dir={photographs}", f"--output_dir={tmp_path / 'packed'}")
    done = run_program("tools.pack_images", *words)
    assert done.status != 0 and "Missing: 'nut'; not in train: 'screw'" in done.err
    assert not (tmp_path / "packed").exists()
    (photographs / "val").rename(tmp_path / "elsewhere")  # a split that is not there is
    assert run_program("tools.pack_images", *words).out == "train: 6 images\ntest: 2 images\n"
