"""A run overwrites nothing, and one that failed at its start is not in the way of the next."""

import shutil

import numpy as np
import pytest

from recipes import run_folder
from tests.recipes.one_line import assert_one_line

pytestmark = pytest.mark.one_backend


def test_an_output_folder_of_another_run_is_left_alone(run_recipe, tiny_run, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "model.keras").write_text("precious")
    outcome = run_recipe("pretrain", *tiny_run, f"--output_dir={folder}")
    assert_one_line(outcome, "pretrain", str(folder), "new folder")
    assert (folder / "model.keras").read_text() == "precious"


def test_the_folder_is_looked_at_before_the_images(run_recipe, tmp_path):
    (tmp_path / "notes.txt").write_text("precious")
    words = (f"--output_dir={tmp_path}", f"--data_dir={tmp_path / 'nowhere'}")
    for name in ("pretrain", "finetune"):
        assert_one_line(run_recipe(name, *words), name, str(tmp_path), "not empty")


def test_a_run_that_failed_at_its_start_can_be_repeated(run_recipe, tiny_run, tmp_path):
    folder = tmp_path / "run"
    words = (*tiny_run, f"--output_dir={folder}", "--json")
    failed = run_recipe("pretrain", *words, "--learning_rate=1e30", "--epochs=40")
    assert failed.status != 0 and (folder / "settings.flags").exists()
    for path in (folder / "checkpoints").glob("step-*"):
        shutil.rmtree(path)  # as if it had ended in its first epoch
    run_folder.log_before(folder, {"probe_knn": 0.5})
    outcome = run_recipe("pretrain", *words)
    assert outcome.status == 0, outcome.err
    assert "--epochs=2" in (folder / "settings.flags").read_text().splitlines()
    assert "probe_knn" not in (folder / "metrics.jsonl").read_text()


@pytest.mark.parametrize(
    "metrics",
    [
        "",
        '{"epoch": 0, "step": 0, "probe_knn": 0.5}\n',
        '{"epoch": 1, "step": 3}\n',
        '{"epoch": 1, "step": 3}\n{"epo',
    ],
)
def test_a_run_that_ended_before_its_first_save_can_be_repeated(
    run_recipe, tiny_run, tmp_path, metrics
):
    """Each of these comes before the first checkpoint, and a full disk ends a run there."""
    folder = tmp_path / "run"
    (folder / "checkpoints" / "unfinished.12.step-00000003").mkdir(parents=True)
    for name in ("settings.flags", "run.json", "curves.png", "unfinished.12.run.json"):
        (folder / name).write_text("")
    (folder / "metrics.jsonl").write_text(metrics)
    (folder / "reconstructions").mkdir()
    for name in ("epoch-0000.png", "epoch-0007.png", "original.png"):
        (folder / "reconstructions" / name).write_text("of before")
    for name in ("best-1.safetensors", "training.lock"):
        (folder / "checkpoints" / name).write_text("")
    outcome = run_recipe("pretrain", *tiny_run, f"--output_dir={folder}", "--epochs=1")
    assert outcome.status == 0, outcome.err
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 1
    drawn = {path.name: path.read_bytes()[1:4] for path in (folder / "reconstructions").iterdir()}
    names = ("epoch-0000.png", "epoch-0001.png", "masked.png", "original.png")
    assert drawn == dict.fromkeys(names, b"PNG")
    aside = folder / "metrics.before-1.jsonl"
    assert (aside.read_text() == metrics) if '"epoch": 1' in metrics else not aside.exists()


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoints/last.keras", "notes.txt"])
def test_what_a_run_saved_is_never_overwritten(run_recipe, tiny_run, tmp_path, name):
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "settings.flags").write_text("--epochs=9\n")
    (folder / name).write_text("precious")
    outcome = run_recipe("pretrain", *tiny_run, f"--output_dir={folder}")
    assert_one_line(outcome, "pretrain", str(folder), "new folder")
    assert (folder / name).read_text() == "precious"
    assert (folder / "settings.flags").read_text() == "--epochs=9\n"


def rename_classes(images_dir, names):
    for path in (images_dir / "train.npz", images_dir / "test.npz"):
        arrays = dict(np.load(path))
        np.savez(path, **{**arrays, "class_names": np.array(names)})


def test_class_names_that_differ_are_refused(run_recipe, finetuned, images_dir):
    rename_classes(images_dir, ["boot", "dress", "coat"])
    for weights in (finetuned.folder, finetuned.folder / "checkpoints"):
        outcome = run_recipe("evaluate", f"--weights={weights}", f"--data_dir={images_dir}")
        assert_one_line(outcome, "evaluate", "class 1", "'coat'", "'dress'", "another order")
