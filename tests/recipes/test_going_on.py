"""The same command on the same folder is one run, however often it was stopped."""

import json
import os
import shutil
import signal

import filelock
import numpy as np
import pytest
import safetensors.numpy

import keras_convnextv2 as kc
from tests.recipes.one_line import assert_one_line

pytestmark = pytest.mark.one_backend

TIMES = ("seconds", "images_per_second")
FINETUNE = ("--validation_fraction=0.25", "--mixup=0.2", "--drop_path_rate=0.2", "--epochs=3")


@pytest.fixture
def stop_after(monkeypatch):
    """stop_after(n): in the n-th step from now on SIGTERM comes."""
    real = kc.training.Checkpoints.on_train_batch_end

    def stop_after(num_steps):
        left = [num_steps]

        def on_train_batch_end(self, batch, logs=None):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGTERM)
            real(self, batch, logs)

        monkeypatch.setattr(kc.training.Checkpoints, "on_train_batch_end", on_train_batch_end)

    return stop_after


def lines_of(folder):
    """metrics.jsonl without times."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{name: line[name] for name in line if name not in TIMES} for line in lines]


def arrays_of(folder, name):
    """{name: array} of the newest checkpoint's weights, or of what else the training changes."""
    newest = kc.runs.newest_checkpoint(folder / "checkpoints")
    return safetensors.numpy.load_file(newest / f"{name}.safetensors")


def result_of(outcome, folder):
    return {k: v for k, v in outcome.result.items() if str(folder) not in str(v)}


@pytest.mark.parametrize(
    ("recipe", "words", "stops"),
    [
        ("pretrain", ("--measure_every=1", "--measure_images=8"), [2, 2]),
        # An update is two steps: the second stop comes between them.
        ("pretrain", ("--objective=latent", "--accumulation_steps=2"), [1, 2]),
        # 2 epochs of the head alone, then 3 of all: 2 steps each. Stopped in either part, at its
        # last step, and at the first of the whole.
        ("finetune", (*FINETUNE, "--freeze_epochs=2"), [1, 3, 1, 3]),
        ("finetune", (*FINETUNE, "--ema_momentum=0.5", "--monitor=accuracy"), [1, 2]),
    ],
)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    run_recipe, tiny_run, tmp_path, stop_after, recipe, words, stops
):
    has_decoder = recipe == "pretrain" and "--objective=latent" not in words
    of_recipe = [word for word in tiny_run if has_decoder or "decoder" not in word]
    words = (*of_recipe, *words, "--seed=3", "--json")
    straight = run_recipe(recipe, *words, f"--output_dir={tmp_path / 'straight'}")
    assert straight.status == 0, straight.err
    folder = tmp_path / "stopped"
    words = (*words, f"--output_dir={folder}")
    for num_steps in stops:
        stop_after(num_steps)
        stopped = run_recipe(recipe, *words)
        assert stopped.status == 128 + signal.SIGTERM, stopped.err
        said = stopped.err.strip().splitlines()[-1]
        assert said.startswith(f"{recipe}: stopped by SIGTERM; all of it is saved in")
        assert said.endswith("The same command goes on from there.")
        refused = run_recipe("evaluate", f"--weights={folder}")
        assert_one_line(refused, "evaluate", "has not finished", str(folder / "checkpoints"))
    stop_after(0)
    ended = run_recipe(recipe, *words)
    assert ended.status == 0, ended.err
    assert "the training goes on with epoch" in ended.err
    assert result_of(ended, folder) == result_of(straight, tmp_path / "straight")
    assert lines_of(folder) == lines_of(tmp_path / "straight")
    drawn, of_straight = (
        {path.name: path.read_bytes() for path in run.glob("reconstructions*/*")}
        for run in (folder, tmp_path / "straight")
    )
    assert drawn == of_straight and ("epoch-0000.png" in drawn) == has_decoder
    for name in ("model", "training"):  # the latter has the optimizer's weights, and a teacher's
        one, other = (arrays_of(path, name) for path in (folder, tmp_path / "straight"))
        assert list(one) == list(other) and len(one) > 10
        for place, array in one.items():
            np.testing.assert_array_equal(array, other[place], place)
    models = [kc.from_preset(path / "model") for path in (folder, tmp_path / "straight")]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def of_pretrained(pretrained, tmp_path, shared_images_dir):
    """A copy of the run's folder, and its command for there."""
    folder = tmp_path / "run"
    shutil.copytree(pretrained.folder, folder)
    flags = json.loads((folder / "run.json").read_text())["command"]["flags"]
    words = [word for word in flags if not word.startswith("--output_dir")]
    return folder, (*words, f"--output_dir={folder}")


def test_a_pretraining_that_was_stopped_within_its_first_epoch_goes_on(
    run_recipe, tiny_run, stop_after, tmp_path
):
    flags = ("--epochs=1", "--reconstruct_every=0", f"--output_dir={tmp_path / 'run'}", "--json")
    words = ("pretrain", *tiny_run, *flags)
    stop_after(1)
    assert run_recipe(*words).status == 128 + signal.SIGTERM
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    outcome = run_recipe(*words)
    assert outcome.status == 0 and np.isfinite(outcome.result["loss"]), outcome.err
    left = {path.name for path in (tmp_path / "run").glob("reconstructions*")}
    assert left == {"reconstructions.png"} and "animation" not in outcome.result


def test_a_finished_run_says_so_and_tells_its_result_again(run_recipe, of_pretrained, pretrained):
    folder, words = of_pretrained
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    outcome = run_recipe("pretrain", *words)
    assert outcome.status == 0 and "is finished; its result" in outcome.err
    assert outcome.result == pretrained.outcome.result
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_run_whose_end_was_not_written_only_writes_it(run_recipe, of_pretrained, pretrained):
    folder, words = of_pretrained
    for name in ("result.json", "reconstructions.png"):
        (folder / name).unlink()
    (folder / "model" / "config.json").write_text("of before")  # it is replaced
    outcome = run_recipe("pretrain", *words)
    assert "the training is finished, after epoch 2" in outcome.err
    assert outcome.result["loss"] == pretrained.outcome.result["loss"]
    assert kc.from_preset(folder).count_params() == kc.from_preset(folder / "model").count_params()
    assert len(lines_of(folder)) == 2


def test_other_settings_are_refused_and_named_unless_they_are_allowed(run_recipe, of_pretrained):
    folder, words = of_pretrained
    result = (folder / "result.json").read_text()
    words = (*words, "--learning_rate=2e-3", "--epochs=3", "--workers=0")
    outcome = run_recipe("pretrain", *words)
    assert_one_line(outcome, "pretrain", "epochs was 2, is 3", "learning_rate was ", "is 0.002")
    assert "workers" not in outcome.err
    assert "--epochs=2" in (folder / "settings.flags").read_text().splitlines()
    outcome = run_recipe("pretrain", *words, "--allow_changed_settings", "--keep_every=1")
    assert outcome.status == 0, outcome.err
    assert len(list((folder / "checkpoints").glob("step-*"))) == 3  # not the newest two alone
    assert [line["epoch"] for line in lines_of(folder)] == [1, 2, 3]
    assert "--epochs=3" in (folder / "settings.flags").read_text().splitlines()
    assert (folder / "result.before-1.json").read_text() == result
    assert json.loads((folder / "result.json").read_text()) == outcome.result


def test_a_run_that_is_refused_keeps_its_record(run_recipe, of_pretrained):
    folder, words = of_pretrained
    before = (folder / "settings.flags").read_text()
    others = ("--allow_changed_settings", "--decoder_width=12")
    assert_one_line(run_recipe("pretrain", *words, *others), "pretrain", "decoder")
    assert (folder / "settings.flags").read_text() == before


def test_a_signal_behind_the_last_step_ends_the_run_before_what_follows(
    run_recipe, tiny_run, tmp_path, monkeypatch
):
    real = kc.training.Checkpoints.close

    def close(self):
        os.kill(os.getpid(), signal.SIGINT)
        real(self)

    monkeypatch.setattr(kc.training.Checkpoints, "close", close)
    words = (*tiny_run, f"--output_dir={tmp_path / 'run'}")
    outcome = run_recipe("pretrain", *words)
    assert outcome.status == 128 + signal.SIGINT and "stopped by SIGINT" in outcome.err
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.parametrize("content", ["{", "[" * 100_000])
def test_a_damaged_record_is_said(run_recipe, of_pretrained, content):
    folder, words = of_pretrained
    for name in ("result.json", "run.json"):
        (folder / name).write_text(content)
        assert_one_line(run_recipe("pretrain", *words), "pretrain", f"{name} is damaged")


def test_damaged_metrics_are_said_with_their_line(run_recipe, of_pretrained):
    folder, words = of_pretrained
    (folder / "result.json").unlink()
    first, second = (folder / "metrics.jsonl").read_text().splitlines()
    (folder / "metrics.jsonl").write_text(f"{first}\n{second[:-9]}\n")
    said = run_recipe("pretrain", *words)
    assert_one_line(said, "pretrain", "metrics.jsonl is damaged (line 2 tells of no epoch)")


def test_a_folder_is_of_one_program_at_a_time(run_recipe, of_pretrained):
    folder, words = of_pretrained
    with filelock.FileLock(folder / "run.lock"):
        outcome = run_recipe("pretrain", *words)
    assert_one_line(outcome, "pretrain", "another program is at work", str(folder))
