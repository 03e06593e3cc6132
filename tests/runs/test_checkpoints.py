"""What is saved, what is kept, and what is passed over."""

import json

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.runs import CheckpointError, checkpoint_folder
from keras_convnextv2.training.optimizers import adamw
from tests.runs.small_training import fit, make_classifier, names_in

pytestmark = pytest.mark.one_backend


def test_a_checkpoint_is_what_it_says(folder):
    assert names_in(folder) == ["step-00000002", "step-00000004", "step-00000006"]
    path = folder / "step-00000006"
    assert names_in(path) == [
        "config.json",
        "manifest.json",
        "model.safetensors",
        "state.json",
        "training.safetensors",
    ]
    state = json.loads((path / "state.json").read_text())
    assert (state["epoch"], state["batch"], state["steps"]) == (3, 0, 6)
    model = kc.from_preset(path)
    assert model.class_names == ("cat", "dog") and model.backbone.normalisation[1] == (0.25,) * 3


def test_it_is_little_larger_than_its_arrays(tmp_path):
    backbone = kc.ConvNeXtV2Backbone("atto", (64, 64, 3))
    model = kc.ConvNeXtV2Classifier(backbone, 2)
    model.compile(adamw(model, 1e-3, 0.05), "mse")
    snapshot = checkpoint_folder.take_snapshot(model, {}, with_metrics=False)
    checkpoint_folder.write(tmp_path / "step-00000000", snapshot)
    written = sum(path.stat().st_size for path in (tmp_path / "step-00000000").iterdir())
    variables = [*model.variables, *model.optimizer.variables]
    arrays = sum(keras.ops.convert_to_numpy(v.value).nbytes for v in variables)
    assert arrays < written <= 1.02 * arrays


def test_the_last_the_best_and_each_so_many_are_kept(tmp_path):
    class Judge(keras.callbacks.Callback):
        figures = iter([0.1, 0.9, 0.3, 0.4, 0.5, 0.6, 0.7])

        def on_epoch_end(self, epoch, logs=None):
            logs["figure"] = next(self.figures)

    options = {"keep": 2, "keep_every": 4, "monitor": "figure", "mode": "max"}
    saving = kc.training.Checkpoints(tmp_path, **options)
    fit(make_classifier(), Judge(), saving, epochs=5)
    assert names_in(tmp_path) == [f"step-{2 * epoch:08d}" for epoch in (2, 4, 5)]
    # Which one was the best is known after a stop, too.
    saving = kc.training.Checkpoints(tmp_path, **options)
    fit(make_classifier(), Judge(), saving, epochs=7)
    assert names_in(tmp_path) == [f"step-{2 * epoch:08d}" for epoch in (2, 4, 6, 7)]


def test_an_epoch_without_the_figure_is_not_the_best_one(tmp_path):
    class Judge(keras.callbacks.Callback):
        figures = iter([float("nan"), None, 0.3, 0.5])

        def on_epoch_end(self, epoch, logs=None):
            figure = next(self.figures)
            if figure is not None:
                logs["figure"] = figure

    saving = kc.training.Checkpoints(tmp_path, keep=1, monitor="figure", mode="min")
    fit(make_classifier(), Judge(), saving, epochs=4)
    assert names_in(tmp_path) == ["step-00000006", "step-00000008"]


def test_a_training_that_is_done_says_so_and_changes_nothing(folder, capfd):
    model = make_classifier()
    history = fit(model, kc.training.Checkpoints(folder), epochs=3)
    assert history.epoch == []
    assert "step-00000006: the training is finished, after epoch 3" in capfd.readouterr().err
    saved = kc.from_preset(folder / "step-00000006")
    for one, other in zip(model.weights, saved.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def add_a_path(path):
    content = json.loads(path.read_text())
    content["files"]["../model.safetensors"] = content["files"]["model.safetensors"]
    path.write_text(json.dumps(content))


def forget_the_state(path):
    content = json.loads(path.read_text())
    del content["files"]["state.json"]
    path.write_text(json.dumps(content))


DAMAGES = {
    "no manifest": ("manifest.json", lambda path: path.unlink(), "has no manifest.json"),
    "half a manifest": (
        "manifest.json",
        lambda path: path.write_bytes(path.read_bytes()[:40]),
        "its manifest.json is damaged",
    ),
    "a path in the manifest": ("manifest.json", add_a_path, "its manifest.json is damaged"),
    "a file that is not listed": ("manifest.json", forget_the_state, "does not list state.json"),
    "a later format": (
        "manifest.json",
        lambda path: path.write_text(path.read_text().replace('"version": 1', '"version": 2')),
        "its format has the version 2",
    ),
    "a missing file": ("training.safetensors", lambda path: path.unlink(), "is missing"),
    "a truncated file": (
        "model.safetensors",
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        r"model.safetensors has \d+ bytes instead of \d+",
    ),
    "an altered file": ("training.safetensors", flip_a_bit, "has been altered since"),
    "an altered state": ("state.json", flip_a_bit, "state.json has been altered since"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_that_is_not_whole_is_passed_over_and_named(folder, capfd, damage):
    name, do, message = DAMAGES[damage]
    do(folder / "step-00000006" / name)
    saving = kc.training.Checkpoints(folder)
    history = fit(make_classifier(), saving, epochs=3)
    assert saving.resumed_from.name == "step-00000004" and history.epoch == [2]
    first, second = capfd.readouterr().err.strip().splitlines()[-2:]
    assert first.startswith(f"{folder / 'step-00000006'} is passed over: ")
    assert second.endswith("the training goes on with epoch 3")
    # It is not lost, and does not count as one of those that are kept.
    assert "passed-over.1.step-00000006" in names_in(folder)
    checkpoint_folder.open_checkpoint(folder / "step-00000006")
    with pytest.raises(CheckpointError, match=message):
        do(folder / "step-00000002" / name)
        checkpoint_folder.open_checkpoint(folder / "step-00000002")


def test_where_none_is_whole_nothing_is_begun_or_removed(folder):
    for path in folder.glob("step-*"):
        (path / "manifest.json").unlink()
    before = names_in(folder)
    with pytest.raises(CheckpointError, match="None of the 3 checkpoints .* nothing was removed"):
        fit(make_classifier(), kc.training.Checkpoints(folder))
    assert names_in(folder) == before
