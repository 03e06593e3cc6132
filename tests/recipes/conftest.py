import dataclasses
import json
import runpy
import sys

import numpy as np
import pytest
from absl import flags

# Four stages of a few channels: a run takes seconds on every backend.
TINY = ("--depths=1,1,1,1", "--widths=4,6,8,12", "--stem_stride=1", "--decoder_width=8")


@dataclasses.dataclass
class Outcome:
    status: int
    out: str
    err: str

    @property
    def result(self):
        return json.loads(self.out.splitlines()[-1])


@pytest.fixture
def run_recipe(capsys, monkeypatch):
    """Runs `python -m recipes.NAME FLAGS...` in this process, which has imported Keras already."""

    def run(name, *words):
        for module in [module for module in sys.modules if module.split(".")[0] == "recipes"]:
            del sys.modules[module]
        _forget_flags()
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        capsys.readouterr()
        status = 0
        try:
            runpy.run_module(f"recipes.{name}", run_name="__main__", alter_sys=True)
        except SystemExit as stop:
            status = stop.code or 0
        return Outcome(status, *capsys.readouterr())

    return run


def _forget_flags():
    for name in list(flags.FLAGS):
        module = flags.FLAGS.find_module_defining_flag(name)
        if module.startswith("recipes") or "/recipes/" in module:
            delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()


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
