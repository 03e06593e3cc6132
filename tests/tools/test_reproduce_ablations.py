"""The paper's experiments on images of one's own."""

import json
import os
import shutil

import keras
import numpy as np
import pytest

from tests.recipes.conftest import TINY, write_images
from tests.recipes.one_line import assert_one_line
from tools.ablation_experiments import GROUPS, selected
from tools.ablation_runner import Runner
from tools.ablation_runs import Plan, in_order

pytestmark = pytest.mark.one_backend


@pytest.fixture
def words(tmp_path):
    """Flags of runs of seconds."""
    write_images(tmp_path / "images")
    return [
        *(word for word in TINY if "decoder" not in word),
        f"--data_dir={tmp_path / 'images'}",
        f"--output_dir={tmp_path / 'out'}",
        *("--image_size=16x24", "--pretrain_epochs=1", "--finetune_epochs=1"),
        *("--labels_per_class=4", "--pretrain_flags=--batch_size=8 --decoder_width=8"),
        *("--finetune_flags=--batch_size=4", "--seeds=2"),
    ]


def test_two_rows_of_two_seeds(words, run_program, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    outcome = run_program("tools.reproduce_ablations", *words, "--only=equal_cost", "--list")
    assert outcome.status == 0, outcome.err
    assert "0 of 2 seeds done" in outcome.out and "0 of 6 runs are done" in outcome.out
    assert not folder.exists()

    outcome = run_program(
        "tools.reproduce_ablations", *words, "--only=equal_cost", "--budget=0", "--json"
    )
    assert outcome.status == 0, outcome.err
    assert (outcome.result["runs"], outcome.result["runs_left"]) == (6, 6)
    settings = json.loads((folder / "settings.json").read_text())
    assert (settings["num_images"], settings["num_labelled"]) == (24, 12)

    started = []

    class InThisProcess:
        """The recipe itself, but without a Python of its own, which takes seconds to start."""

        def __init__(self, runner, run, lines):
            started.append(run.name)
            self.command = f"recipes.{run.recipe}", *run.command(runner.folder)

        def wait(self, timeout):
            outcome = run_program(*self.command)
            assert outcome.status == 0, outcome.err
            return outcome.status

    monkeypatch.setattr(Runner, "_start", lambda *args: InThisProcess(*args))
    # Half of the time of such short runs; they have tests of their own.
    monkeypatch.setattr("keras_convnextv2.analysis.curves.draw_curves", lambda *paths: None)
    groups, plan = selected(["equal_cost"]), Plan(settings)
    runner = Runner(folder, in_order(groups, 2, 1, plan), None, lambda line: None)
    assert not runner.run_all(lambda: None) and not runner.failed
    assert len(started) == 6 and set(started) == {run.name for run in runner.runs}

    # Equal runs are done once: the rows of another group that need the same are there.
    outcome = run_program("tools.reproduce_ablations", *words, "--only=equal_cost", "--json")
    assert outcome.status == 0, outcome.err
    assert outcome.result["runs_left"] == 0
    rows = {(row["group"], row["row"]): row for row in outcome.result["rows"]}
    of_seeds = rows["codesign", "V2 FCMAE"]["accuracies"]
    assert of_seeds == rows["equal_cost", "FCMAE and fine-tuned"]["accuracies"]
    for seed in range(2):
        run = plan.run_of(groups[0]["FCMAE and fine-tuned"], seed)
        result = json.loads((run.folder(folder) / "result.json").read_text())
        assert of_seeds[str(seed)] == pytest.approx(100 * result["test_accuracy"])
        assert not (run.folder(folder) / "checkpoints").exists()
    run_record = json.loads((run.folder(folder) / "run.json").read_text())
    row = rows["equal_cost", "supervised longer"]
    values = list(row["accuracies"].values())
    assert row["mean"] == pytest.approx(np.mean(values))
    assert row["spread"] == pytest.approx(np.std(values, ddof=1))
    assert rows["codesign", "V1 FCMAE"]["mean"] is None
    text = (folder / "results.md").read_text(encoding="utf-8")
    num_runs = len(in_order(GROUPS, 2, 1, plan))
    assert f"6 of {num_runs} runs are done" in text
    assert "| flags, from a pretraining | `--layer_decay=0.9` |" in text
    assert (folder / "plots" / "equal_cost.svg").exists()

    # Elsewhere, with the two small files alone: all is known, and nothing made again.
    other = tmp_path / "other"
    other.mkdir()
    for name in ("settings.json", "finished.jsonl"):
        shutil.copy(folder / name, other)
    words = [word.replace(str(folder), str(other)) for word in words]
    there = run_program("tools.reproduce_ablations", *words, "--only=equal_cost", "--json")
    assert there.status == 0, there.err
    assert there.result == outcome.result
    library = f"keras-convnextv2 {run_record['versions']['keras-convnextv2']}"
    made_on = ", ".join(
        [
            run_record["machine"]["cpu"],
            f"{os.cpu_count()} cores",
            library,
            f"keras {keras.__version__}",
        ]
    )
    text = (other / "results.md").read_text(encoding="utf-8")
    assert "6 runs on " + made_on in text and f"Commits: {run_record['git']['commit'][:7]}." in text
    assert not (other / "runs").exists()

    # A command with fewer seeds shows those that are done all the same, and the whole's state.
    fewer = [*words, "--seeds=1", "--only=masking", "--budget=0", "--json"]
    rows = run_program("tools.reproduce_ablations", *fewer).result["rows"]
    rows = {(row["group"], row["row"]): row for row in rows}
    assert rows["codesign", "V2 FCMAE"]["accuracies"] == of_seeds
    text = (other / "results.md").read_text(encoding="utf-8")
    assert f"of {len(in_order(GROUPS, 1, 1, plan))} runs are done" in text

    outcome = run_program("tools.reproduce_ablations", *words, "--finetune_epochs=3")
    assert_one_line(outcome, "reproduce_ablations", "was begun with finetune_epochs 1, not 3")


def test_the_images_of_a_folder_that_goes_on_are_by_the_same_relative_path_and_as_many(
    words, run_program, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    relative = [*words, "--data_dir=images", "--budget=0"]
    outcome = run_program("tools.reproduce_ablations", *relative)
    assert outcome.status == 0, outcome.err
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    outcome = run_program("tools.reproduce_ablations", *relative)
    assert_one_line(outcome, "reproduce_ablations", "images does not exist")
    outcome = run_program("tools.reproduce_ablations", *words, "--budget=0")
    assert_one_line(outcome, "reproduce_ablations", "was begun with data_dir 'images', not")
    shutil.copytree(tmp_path / "images", "images")
    assert run_program("tools.reproduce_ablations", *relative).status == 0
    with np.load("images/train.npz") as arrays:
        fewer = {name: value[:-2] if len(value) == 24 else value for name, value in arrays.items()}
    np.savez("images/train.npz", **fewer)
    outcome = run_program("tools.reproduce_ablations", *relative)
    assert_one_line(outcome, "reproduce_ablations", "begun with num_images 24", "have 22")
    with np.load(tmp_path / "images" / "train.npz") as arrays:
        others = {**arrays, "images": 255 - arrays["images"]}
    np.savez("images/train.npz", **others)
    outcome = run_program("tools.reproduce_ablations", *relative)
    assert_one_line(outcome, "reproduce_ablations", "with other train images: their contents diff")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--only=grn"], ["--only is of codesign, grn_in_finetuning,", "'grn'"]),
        (["--only=masking/dense"], ["masking has the rows naive: the images alone; sparse"]),
        (["--data_dir=nowhere"], ["nowhere does not exist"]),
        (["--labels_per_class=99"], ["but 99 a class were asked for"]),
        (["--variant=atto"], ["Give --variant, or --depths and --widths, not both"]),
        (["--budget=-1"], ["budget"]),
        (["--seeds=0"], ["seeds"]),
    ],
)
def test_what_is_refused_is_one_line(words, more, said, run_program, tmp_path):
    outcome = run_program("tools.reproduce_ablations", *words, *more)
    assert_one_line(outcome, "reproduce_ablations", *said)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(words, run_program, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").touch()
    outcome = run_program("tools.reproduce_ablations", *words)
    assert_one_line(outcome, "reproduce_ablations", "is not empty, and was not begun by this tool")
