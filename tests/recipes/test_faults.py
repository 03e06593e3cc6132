"""What goes wrong around a run, for real: it ends in one line, and loses nothing it has saved."""

import errno
import itertools
import json
import math
import os
import re
import shutil
import time

import numpy as np
import PIL.Image
import pytest

import keras_convnextv2 as kc
from tests.recipes.one_line import assert_one_line
from tests.reference.faulty_disk import FaultyDisk

pytestmark = pytest.mark.one_backend


@pytest.mark.parametrize("file", ["run.json", "config.json", "tfevents", "result.json"])
def test_a_disk_that_is_full_ends_the_run_and_the_same_command_ends_it_well(
    run_recipe, pretrained, tiny_run, shared_images_dir, tmp_path, monkeypatch, file
):
    folder = tmp_path / "run"
    words = [word for word in tiny_run if "data_dir" not in word]
    words += [f"--data_dir={shared_images_dir}", f"--output_dir={folder}", "--json"]
    with FaultyDisk(file).in_use(monkeypatch):
        outcome = run_recipe("pretrain", *words)
    assert_one_line(outcome, "pretrain", os.strerror(errno.ENOSPC), file)
    saved = kc.runs.newest_checkpoint(folder / "checkpoints")
    ended = run_recipe("pretrain", *words)
    assert ended.status == 0, ended.err
    assert ended.result["loss"] == pretrained.outcome.result["loss"]
    assert (saved is not None) == ("the training" in ended.err)
    assert not [path for path in folder.rglob("unfinished*")]


def test_a_clock_that_goes_backwards_or_stands_still_harms_nothing(
    run_recipe, pretrained, tiny_run, shared_images_dir, tmp_path, monkeypatch
):
    words = [word for word in tiny_run if "data_dir" not in word]
    words += [f"--data_dir={shared_images_dir}", "--save_every=1", "--json"]
    backwards = itertools.count(2e9, -3600)
    with monkeypatch.context() as patches:
        patches.setattr(time, "time", lambda: next(backwards))
        patches.setattr(time, "monotonic", lambda: 1e6)
        folder = tmp_path / "run"
        outcome = run_recipe("pretrain", *words, f"--output_dir={folder}")
        again = run_recipe("pretrain", *words, f"--output_dir={folder}")
    assert outcome.status == 0 and next(backwards) < 2e9, outcome.err
    assert again.result == outcome.result
    assert outcome.result["loss"] == pretrained.outcome.result["loss"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    for line in lines:
        assert line["seconds"] >= 0 and line["images_per_second"] >= 0
        assert all(map(math.isfinite, line.values()))
    assert not re.findall(r" (?:-\d|inf|nan)", outcome.err)


def test_a_picture_that_goes_during_a_run_is_named_and_the_run_goes_on_when_it_is_back(
    run_recipe, tmp_path, monkeypatch
):
    pictures = tmp_path / "pictures"
    for number in range(16):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), "uint8")
        (pictures / "train").mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels).save(pictures / "train" / f"{number}.png")
    words = ["--depths=1,1,1,1", "--widths=4,6,8,12", "--stem_stride=1", "--decoder_width=8"]
    words += [f"--data_dir={pictures}", "--image_size=16x24", "--batch_size=2", "--epochs=2"]
    words += ["--save_every=1", f"--output_dir={tmp_path / 'run'}", "--json"]
    real = kc.training.Checkpoints.on_epoch_end

    def on_epoch_end(self, epoch, logs=None):
        real(self, epoch, logs)
        if epoch == 0:
            pictures.rename(tmp_path / "gone")

    with monkeypatch.context() as patches:
        patches.setattr(kc.training.Checkpoints, "on_epoch_end", on_epoch_end)
        outcome = run_recipe("pretrain", *words)
    said = (
        "cannot be read as an image (FileNotFoundError",
        ".png",
        "--max_bad_images=1 passes over",
    )
    assert_one_line(outcome, "pretrain", *said)
    (tmp_path / "gone").rename(pictures)
    ended = run_recipe("pretrain", *words)
    assert ended.status == 0 and "the training goes on with epoch 2" in ended.err, ended.err
    shutil.copy(pictures / "train" / "3.png", pictures / "train" / "4.png")
    (tmp_path / "run" / "result.json").unlink()
    refused = run_recipe("pretrain", *words)
    assert_one_line(refused, "pretrain", "images of other contents", "--allow_changed_settings")
