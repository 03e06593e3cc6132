"""Which runs of the experiments are done, as their file says it."""

import json
import os
import threading

import pytest

from tools import ablation_finished
from tools.ablation_runs import Run

pytestmark = pytest.mark.one_backend


def finish(folder, name, accuracy, record=None):
    """Leaves what a recipe does in the folder of a run, which is returned."""
    run = Run(name, "finetune", ())
    run.folder(folder).mkdir(parents=True)
    result = {"test_accuracy": accuracy, "model": "far/away", "exact": True}
    (run.folder(folder) / "result.json").write_text(json.dumps(result))
    if record is not None:
        (run.folder(folder) / "run.json").write_text(json.dumps(record))
    return run


def lines_in(folder):
    return [json.loads(line) for line in (folder / "finished.jsonl").read_text().splitlines()]


def test_a_line_has_the_time_the_numbers_and_the_machine(tmp_path):
    record = {
        "machine": {"system": "Linux", "processor": "x86_64", "cpu": "A Fast One", "cpus": 2},
        "versions": {"python": "3.11", "keras": "3.15.1", "torch": "2.13.0"},
    }
    run = finish(tmp_path, "a-seed-0", 0.25, record)
    os.utime(run.folder(tmp_path) / "result.json", (0, 86_400))
    for seconds, status in ((9.0, 143), (5.0, 0), (1.5, 143), (2.5, 0)):
        ablation_finished.keep_time(run, tmp_path, seconds, status)
    ablation_finished.keep(run, tmp_path)
    machine = {"cpu": "A Fast One", "cores": 2, "keras": "3.15.1", "torch": "2.13.0"}
    words = "A Fast One, 2 cores, keras 3.15.1, torch 2.13.0"
    assert lines_in(tmp_path) == [
        {
            "run": "a-seed-0",
            "seconds": 4.0,  # of the second making alone
            "date": "1970-01-02T00:00:00+00:00",
            "result": {"test_accuracy": 0.25},
            "machine": machine,
        }
    ]
    done = ablation_finished.finished_runs(tmp_path)
    assert ablation_finished.machines(done) == {words: 1}
    assert ablation_finished.machines({"b": {"run": "b"}}) == {"unknown": 1}


def test_runs_of_a_folder_without_the_file_are_done_and_written_once(tmp_path):
    runs = [finish(tmp_path, f"{name}-seed-0", 0.5) for name in "ab"]
    (tmp_path / "runs" / "begun").mkdir()
    ablation_finished.keep_time(runs[1], tmp_path, 7.0, 0)
    done = ablation_finished.finished_runs(tmp_path)
    assert {name: line["seconds"] for name, line in done.items()} == {"a-seed-0": 0, "b-seed-0": 7}
    assert not (tmp_path / "finished.jsonl").exists()
    for _ in range(2):
        ablation_finished.keep_all(tmp_path)
        assert [line["run"] for line in lines_in(tmp_path)] == ["a-seed-0", "b-seed-0"]


def test_lines_of_programs_that_write_at_once_stay_whole(tmp_path):
    runs = [finish(tmp_path, f"a-seed-{seed}", 0.5) for seed in range(40)]

    def write(mine):
        for run in mine:
            ablation_finished.keep(run, tmp_path)

    threads = [threading.Thread(target=write, args=(runs[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line["run"] for line in lines_in(tmp_path)) == sorted(run.name for run in runs)


def test_a_line_that_is_being_written_is_waited_for_and_a_damaged_one_told(tmp_path):
    run = finish(tmp_path, "a-seed-0", 0.5)
    ablation_finished.keep(run, tmp_path)
    path = tmp_path / "finished.jsonl"
    whole = path.read_text()
    path.write_text(whole + '{"run": "b-se')
    assert list(ablation_finished.finished_runs(tmp_path)) == ["a-seed-0"]
    ablation_finished.keep(finish(tmp_path, "c-seed-0", 0.5), tmp_path)
    with pytest.raises(ValueError, match=r"finished\.jsonl is damaged: line 2 tells of no run"):
        ablation_finished.finished_runs(tmp_path)
    for wrong in ("<<<<<<< HEAD", "[]", '{"run": "b", "seconds": 1}', whole.replace("0.0", '"x"')):
        path.write_text(f"\n{wrong}\n{whole}")
        with pytest.raises(ValueError, match="line 2 tells of no run"):
            ablation_finished.finished_runs(tmp_path)
