"""Running what is left of the runs, until the time is over."""

import json
import signal
import subprocess
import sys
import threading
import time

import pytest

from keras_convnextv2.runs.lock import locked
from tools import ablation_runner
from tools.ablation_finished import finished_runs, times
from tools.ablation_runner import Interrupted, Runner
from tools.ablation_runs import Run

pytestmark = pytest.mark.one_backend

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
    lines_of_times = map(json.loads, (tmp_path / "times.jsonl").read_text().splitlines())
    assert [(line["run"][-1], line["status"]) for line in lines_of_times] == [
        ("0", 128 + signal.SIGTERM),
        ("0", 0),
        ("1", 128 + signal.SIGTERM),
    ]
    spent = times(tmp_path)
    assert [spent[run.name][1] for run in runs] == [True, False]
    expected = max(spent["a-seed-0"][0] - spent["a-seed-1"][0], 0)  # as much as the other seed
    assert runner.projected_seconds(runs[1]) == pytest.approx(expected, abs=1e-6)
    assert not Runner(tmp_path, runs, None, lines.append).run_all(lambda: None)
    assert Runner(tmp_path, runs).left() == []
    done = [json.loads(line) for line in (tmp_path / "finished.jsonl").read_text().splitlines()]
    assert [line["run"] for line in done] == [run.name for run in runs]
    assert all(line["seconds"] == round(times(tmp_path)[line["run"]][0], 3) for line in done)


def line_of(run, seconds=5.0, accuracy=0.5):
    """As a line of finished.jsonl."""
    return json.dumps(
        {"run": run.name, "seconds": seconds, "result": {"test_accuracy": accuracy}, "machine": {}}
    )


def of_two_tunings(folder):
    """(a pretraining, two fine-tunings of it), which finish at once."""
    pretraining = Run("pretrain-paper-seed-0", "pretrain", (), work=20.0)
    tunings = [Run(f"finetune-{name}-seed-0", "finetune", (), pretraining, 10.0) for name in "ab"]
    for run in (pretraining, *tunings):
        (run.folder(folder) / "checkpoints" / "step-1").mkdir(parents=True)
    return pretraining, *tunings


def test_with_finished_jsonl_alone_a_pretraining_is_made_again_for_what_is_left(
    stands_in, tmp_path
):
    runs = pretraining, first, second = of_two_tunings(tmp_path)
    finished = tmp_path / "finished.jsonl"
    finished.write_text("\n".join(map(line_of, runs)))  # without an end, as when edited by hand
    runner = Runner(tmp_path, runs)
    assert runner.left() == [] and not runner.run_all(None)
    finished.write_text(f"{line_of(pretraining, 40.0)}\n{line_of(first)}")
    assert runner.left() == [pretraining, second]
    # By those of before, on another machine perhaps: nothing of the time here is spent.
    assert [runner.projected_seconds(run) for run in runner.left()] == [40.0, 5.0]
    ended = []
    assert not runner.run_all(lambda: ended.append(runner.left()))
    assert ended == [[second], []] and not runner.failed
    names = [json.loads(line)["run"] for line in finished.read_text().splitlines()]
    assert names == [pretraining.name, first.name, pretraining.name, second.name]
    assert finished_runs(tmp_path)[pretraining.name]["seconds"] < 40.0  # the later one


def test_a_run_of_another_program_is_waited_for(stands_in, tmp_path):
    first, other = (Run(f"{name}-seed-0", "finetune", ()) for name in "ab")
    for run in (first, other):  # so that they finish at once
        (run.folder(tmp_path) / "checkpoints" / "step-1").mkdir(parents=True)
    lock = locked(first.folder(tmp_path), "run.lock")
    lines = []
    # Released when the other run is done.
    assert not Runner(tmp_path, [first, other], None, lines.append).run_all(lock.release)
    assert [line.split(":")[0] for line in lines] == ["2 of 2", "2 of 2", "1 of 2", "1 of 2"]


def test_a_run_that_another_program_begins_at_the_same_time_has_not_failed(tmp_path, monkeypatch):
    first = Run("pretrain-seed-0", "pretrain", ())
    runs = [first, Run("finetune-seed-0", "finetune", (), first)]
    theirs = [locked]

    def start(runner, run, lines):
        if run is first and theirs[0] is locked:  # the lock is taken between the look and the start
            theirs[0] = locked(run.folder(tmp_path), "run.lock")
            return subprocess.Popen([sys.executable, "-c", "raise SystemExit(2)"], stdout=lines)
        (run.folder(tmp_path)).mkdir(exist_ok=True, parents=True)
        (run.folder(tmp_path) / "result.json").write_text('{"test_accuracy": 0.5}')
        return subprocess.Popen([sys.executable, "-c", ""], stdout=lines)

    def end_theirs():
        (first.folder(tmp_path) / "result.json").write_text('{"loss": 0.5}')
        theirs[0].release()

    monkeypatch.setattr(Runner, "_start", start)
    monkeypatch.setattr(ablation_runner, "_LOOK", 0.05)
    threading.Timer(1.0, end_theirs).start()
    lines = []
    runner = Runner(tmp_path, runs, None, lines.append)
    assert not runner.run_all(lambda: None) and runner.failed == {} and runner.left() == []
    assert "1 of 2: another program is at work on it" in lines


def test_a_signal_stops_the_run_and_the_tool(stands_in, tmp_path):
    run = Run("a-seed-0", "finetune", ())
    before = signal.getsignal(signal.SIGTERM)
    when_it_has_started(
        run.folder(tmp_path) / "started", lambda: signal.raise_signal(signal.SIGTERM)
    )
    with pytest.raises(Interrupted, match="stopped by SIGTERM; what is done is kept"):
        Runner(tmp_path, [run], None, print).run_all(None)
    assert (run.folder(tmp_path) / "checkpoints" / "step-1").is_dir()
    seconds, has_ended = times(tmp_path)[run.name]
    assert seconds > 0 and not has_ended  # they count when it has gone on
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
