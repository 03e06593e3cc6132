import numpy as np
import PIL.Image
import pytest

from keras_convnextv2.data import ImageBatches, open_source
from tools.files_for_torch import FilesForTorch

pytestmark = pytest.mark.one_backend


def test_both_do_the_same_work(tmp_path):
    draw = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for number in range(5):
            pixels = PIL.Image.fromarray(draw.integers(0, 256, (6, 9, 3), "uint8"))
            pixels.resize((90, 60)).save(tmp_path / name / f"{number}.png")
    source = open_source(tmp_path, "train")
    ((images, labels),) = ImageBatches(source, (32, 32), 8, labelled=True)
    theirs = FilesForTorch(source, 32)
    assert len(theirs) == len(source) == 8
    for place, (image, label) in enumerate(zip(images, labels, strict=True)):
        other, other_label = theirs[place]
        other = other.numpy()
        difference = min(np.abs(image - turned).max() for turned in (other, other[:, ::-1]))
        assert difference < 2 / 255 / min(source.std)  # levels of 255: a crop of other rounding
        assert other_label == label
