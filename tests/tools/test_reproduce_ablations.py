"""The paper's experiments on images of one's own."""

import importlib
import json
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from keras_convnextv2.runs.lock import locked
from tests.conftest import forget_programs
from tests.recipes.conftest import TINY, write_images
from tests.recipes.one_line import assert_one_line
from tools import ablation_runner
from tools.ablation_experiments import GROUPS, selected
from tools.ablation_runner import Interrupted, Runner
from tools.ablation_runs import Plan, Run, in_order

pytestmark = pytest.mark.one_backend

SETTINGS = {
    "data_dir": "",
    "variant": None,
    "depths": ["1", "1", "1", "1"],
    "widths": ["16", "24", "32", "48"],
    "image_size": "64",
    "stem_stride": 2,
    "pretrain_epochs": 4,
    "finetune_epochs": 3,
    "labels_per_class": 4,
    "precision": "float32",
    "pretrain_cost": 0.5,
    "pretrain_flags": [],
    "finetune_flags": [],
    "num_images": 300,
    "num_labelled": 40,
}
PLAN = Plan(SETTINGS)


def all_runs(seeds=3, other_seeds=1):
    return in_order(GROUPS, seeds, other_seeds, PLAN)


def test_equal_runs_are_one_and_others_have_other_names():
    runs = all_runs()
    assert len({run.name for run in runs}) == len(runs)
    assert len({(run.recipe, run.words, run.weights) for run in runs}) == len(runs)
    for place, run in enumerate(runs):
        assert run.weights is None or run.weights in runs[:place]
    # By hand, for three seeds: V1 and V2 from scratch and at equal cost; V1 and V2 pretrained, each
    # also with the other at fine-tuning; naive; both hierarchical.
    headline = in_order([group for group in GROUPS if group.headline], 3, 1, PLAN)
    assert len(headline) == 3 * (3 + (2 + 4) + 2 + 4)
    codesign = next(group for group in GROUPS if group.name == "codesign")
    neither = next(group for group in GROUPS if group.name == "grn_in_finetuning")
    v1 = PLAN.run_of(codesign["V1 FCMAE"], 0)
    assert v1 == PLAN.run_of(neither["in neither (V1)"], 0)
    added = PLAN.run_of(neither["added at fine-tuning"], 0)
    assert added != v1 and added.weights == v1.weights


def test_supervised_at_equal_cost_has_as_many_epochs_as_both_together():
    # 3 epochs of fine-tuning, and 4 epochs * 300 images * 0.5 of their cost / 40 labelled images.
    assert PLAN.equal_cost_epochs() == 3 + 15
    group = next(group for group in GROUPS if group.name == "equal_cost")
    longer, pretrained = (PLAN.run_of(experiment, 0) for experiment in group.experiments)
    assert "--epochs=18" in longer.words and "--epochs=3" in pretrained.words
    assert longer.work == pretrained.work + pretrained.weights.work


@pytest.mark.parametrize("recipe", ["pretrain", "finetune"])
def test_the_recipes_take_the_flags_of_every_run(recipe, tmp_path):
    forget_programs()
    module = importlib.import_module(f"recipes.{recipe}")
    from keras_convnextv2.fcmae import decoders
    from recipes import model_flags, training_flags

    commands = {run.words: run.command(tmp_path) for run in all_runs() if run.recipe == recipe}
    found = set()
    for words in commands.values():
        module.FLAGS.unparse_flags()
        assert module.FLAGS([recipe, *words]) == [recipe]
        settings = training_flags.resolve(module.EMBEDDED_RUN, module.FOLDER_RUN)
        block = model_flags.variant_of(settings).block
        of_recipe = (settings.decoder,) if recipe == "pretrain" else (settings.allow_other_blocks,)
        if recipe == "pretrain":
            assert settings.decoder in decoders.names()
        found.add((block.response, block.layer_scale, *of_recipe))
    forget_programs()
    if recipe == "pretrain":
        responses = {
            *("grn", "grn_average", "grn_l1", "grn_standardise", "grn_inverse_sum"),
            *("grn_no_residual", "lrn", "bn", "ln", "se", "cbam"),
        }
        others = {"unet", "unet_without_skips", "transformer", "hierarchical", "block"}
        expected = {(name, None, "block") for name in responses}
        expected |= {("none", 1e-6, name) for name in others} | {("grn", None, "hierarchical")}
        assert found == expected
    else:
        assert found == {
            *(("grn", None, allowed) for allowed in (False, True)),
            *(("none", None, True), ("none", 1e-6, False)),
        }


# What a run does that is stopped and goes on, in a process of its own: the first time it waits for
# the signal, as a training for its end, and saves; the second time it finishes.
STANDS_IN = """
import json, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
saved = folder / "checkpoints" / "step-1"
if saved.exists():
    (folder / "result.json").write_text(json.dumps({"test_accuracy": 0.5}))
    sys.exit()
def save(number, frame):
    saved.mkdir(parents=True)
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, save)
(folder / "started").parent.mkdir(parents=True, exist_ok=True)
(folder / "started").touch()
time.sleep(600)
"""


@pytest.fixture
def stands_in(monkeypatch):
    def start(runner, run, lines):
        words = [sys.executable, "-c", STANDS_IN, str(run.folder(runner.folder))]
        return subprocess.Popen(words, stdout=lines, stderr=lines, start_new_session=True)

    monkeypatch.setattr(Runner, "_start", start)
    monkeypatch.setattr(ablation_runner, "_LOOK", 0.01)


def when_it_has_started(path, action):
    def wait():
        while not path.exists():
            time.sleep(0.01)
        action()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_the_end_of_the_time_stops_a_run_which_then_goes_on(stands_in, tmp_path):
    runs = [Run(f"a-seed-{seed}", "finetune", (), work=10.0) for seed in range(2)]
    lines, ended = [], []

    def run_once():
        runner = Runner(tmp_path, runs, 1e6, lines.append)
        thread = when_it_has_started(
            runs[len(ended)].folder(tmp_path) / "started", lambda: setattr(runner, "ends", 0)
        )
        assert runner.run_all(lambda: ended.append(None))
        thread.join()
        return runner

    runner = run_once()
    assert runner.left() == runs and not runner.failed
    assert lines[-1].startswith("1 of 2: stopped, the time is over")
    assert runner.projected_seconds(runs[0]) is None
    # It is over before anything starts: nothing does.
    assert Runner(tmp_path, runs, 0, lines.append).run_all(None) and len(lines) == 2
    # The first is finished, and its checkpoint gone; the second is stopped.
    runner = run_once()
    assert runner.left() == runs[1:] and runner.run_all(None) and lines[-1].startswith("2 of 2")
    assert [path.name for path in runs[0].folder(tmp_path).iterdir() if "check" in path.name] == []
    times = [json.loads(line) for line in (tmp_path / "times.jsonl").read_text().splitlines()]
    assert [(line["run"][-1], line["status"]) for line in times] == [
        ("0", 128 + signal.SIGTERM),
        ("0", 0),
        ("1", 128 + signal.SIGTERM),
    ]
    spent = ablation_runner.seconds_spent(tmp_path)
    expected = max(spent["a-seed-0"] - spent["a-seed-1"], 0)  # as much as the other seed in all
    assert runner.projected_seconds(runs[1]) == pytest.approx(expected, abs=1e-6)
    assert not Runner(tmp_path, runs, None, lines.append).run_all(lambda: None)
    assert Runner(tmp_path, runs).left() == []


def test_a_run_of_another_program_is_waited_for(stands_in, tmp_path):
    first, other = (Run(f"{name}-seed-0", "finetune", ()) for name in "ab")
    for run in (first, other):  # so that they finish at once
        (run.folder(tmp_path) / "checkpoints" / "step-1").mkdir(parents=True)
    lock = locked(first.folder(tmp_path), "run.lock")
    lines = []
    # Released when the other run is done.
    assert not Runner(tmp_path, [first, other], None, lines.append).run_all(lock.release)
    assert [line.split(":")[0] for line in lines] == ["2 of 2", "2 of 2", "1 of 2", "1 of 2"]


def test_a_signal_stops_the_run_and_the_tool(stands_in, tmp_path):
    run = Run("a-seed-0", "finetune", ())
    before = signal.getsignal(signal.SIGTERM)
    when_it_has_started(
        run.folder(tmp_path) / "started", lambda: signal.raise_signal(signal.SIGTERM)
    )
    with pytest.raises(Interrupted, match="stopped by SIGTERM; what is done is kept"):
        Runner(tmp_path, [run], None, print).run_all(None)
    assert (run.folder(tmp_path) / "checkpoints" / "step-1").is_dir()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_run_that_fails_is_told_and_the_others_are_run(tmp_path):
    first, second = (Run(f"pretrain-{flag}-seed-0", "pretrain", (f"--{flag}",)) for flag in "ab")
    runs = [first, Run("finetune-a-seed-0", "finetune", (), first), second]
    runner = Runner(tmp_path, runs, None, lambda line: None)
    assert not runner.run_all(lambda: None)
    assert list(runner.failed) == [run.name for run in runs]
    said = runner.failed[first.name]
    assert said.startswith("pretrain: error: Unknown command line flag 'a'") and "See " in said
    assert runner.failed["finetune-a-seed-0"] == "pretrain-a-seed-0 has failed"
    assert runner.left() == runs


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
    row = rows["equal_cost", "supervised longer"]
    values = list(row["accuracies"].values())
    assert row["mean"] == pytest.approx(np.mean(values))
    assert row["spread"] == pytest.approx(np.std(values, ddof=1))
    assert rows["codesign", "V1 FCMAE"]["mean"] is None
    text = (folder / "results.md").read_text(encoding="utf-8")
    assert "6 of 6 runs are done." in text
    assert (folder / "plots" / "equal_cost.svg").exists()

    outcome = run_program("tools.reproduce_ablations", *words, "--finetune_epochs=3")
    assert_one_line(outcome, "reproduce_ablations", "was begun with finetune_epochs 1, not 3")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--only=grn"], ["--only is of codesign, grn_in_finetuning,", "'grn'"]),
        (["--only=masking/dense"], ["masking has the rows naive: the images alone; sparse"]),
        (["--data_dir=nowhere"], ["nowhere does not exist"]),
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
