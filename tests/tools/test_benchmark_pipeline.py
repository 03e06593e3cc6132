import numpy as np
import PIL.Image
import pytest

from keras_convnextv2.data import ImageBatches, open_source
from tools.files_for_torch import FilesForTorch

pytestmark = pytest.mark.one_backend


@pytest.fixture
def photographs(tmp_path):
    draw = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for number in range(5):
            pixels = PIL.Image.fromarray(draw.integers(0, 256, (6, 9, 3), "uint8"))
            pixels.resize((90, 60)).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_all_three_are_timed(run_program, photographs):
    words = ("--image_size=32", "--batch_size=2", "--batches=2", "--turns=1", "--workers=1")
    done = run_program("tools.benchmark_pipeline", f"--data_dir={photographs}", *words, "--json")
    assert done.status == 0, done.err
    assert done.result["ours over the DataLoader"] > 0 and done.result["ours over training"] > 0
    for name in ("batches of this library", "torch DataLoader", "training"):
        assert f"{name}, images/s" in done.result


def test_both_do_the_same_work(photographs):
    source = open_source(photographs, "train")
    ((images, labels),) = ImageBatches(source, (32, 32), 8, labelled=True)
    theirs = FilesForTorch(source, 32)
    assert len(theirs) == len(source) == 8
    for place, (image, label) in enumerate(zip(images, labels, strict=True)):
        other, other_label = theirs[place]
        other = other.numpy()
        difference = min(np.abs(image - turned).max() for turned in (other, other[:, ::-1]))
        assert difference < 2 / 255 / min(source.std)  # levels of 255: a crop of other rounding
        assert other_label == label
