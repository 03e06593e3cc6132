import json
import re

import pytest

pytestmark = pytest.mark.one_backend

# Stands for a tree's tools/benchmark_contender.py: answers what is in the tree's answers.json, and
# writes down who was asked for what.
CONTENDER = """
import json, pathlib, sys
answers = json.loads(pathlib.Path("answers.json").read_text())
log = pathlib.Path("..", "log").open("a", buffering=1)
tree = pathlib.Path.cwd().name
settings = json.loads(sys.argv[1])
print(tree, "starts", settings["backend"], file=log)
pathlib.Path("settings.json").write_text(json.dumps(settings))
print("a line of some library")
print(json.dumps({"ready": True, "first_step_seconds": 1.0}), flush=True)
for line in sys.stdin:
    word = line.strip()
    print(tree, word, file=log)
    seconds = answers["seconds"].pop(0) if word == "run" else None
    print(json.dumps({"seconds": seconds, "peak_bytes": answers["megabytes"] * 2**20}), flush=True)
print(tree, "ends", file=log)
"""


@pytest.fixture
def make_tree(tmp_path):
    def make(name, seconds, megabytes):
        (tmp_path / name / "tools").mkdir(parents=True)
        (tmp_path / name / "tools" / "benchmark_contender.py").write_text(CONTENDER)
        answers = {"seconds": seconds, "megabytes": megabytes}
        (tmp_path / name / "answers.json").write_text(json.dumps(answers))
        return tmp_path / name

    return make


@pytest.fixture
def trees(make_tree):
    """Flags of two trees: the new one takes twice as long once, else 1.5 times; 0.75 the memory."""
    old = make_tree("old", [0.1, 0.2, 0.1], 100)
    new = make_tree("new", [0.2, 0.3, 0.15], 75)
    return f"--old={old}", f"--new={new}"


def test_medians_and_ratios_of_both_trees_are_printed(trees, tmp_path, run_program):
    report = tmp_path / "report.json"
    words = ("--backends=jax,torch", "--repetitions=3", "--steps=2", f"--output={report}")
    done = run_program("tools.compare_trees", *trees, *words)
    assert done.status == 0, done.err
    numbers = "100.0 | 200.0 | 2.000 | 1.500 | 1.50 to 2.00 | 100 | 75 | 0.750"
    assert [line for line in done.out.splitlines() if line.startswith(("| jax", "| torch"))] == [
        f"| jax | {numbers} |",
        f"| torch | {numbers} |",
    ]
    assert done.out.splitlines()[-1] == "Largest ratio: time 2.000 (jax), memory 0.750 (jax)"
    written = json.loads(report.read_text())
    assert [row["backend"] for row in written["rows"]] == ["jax", "torch"]
    assert written["rows"][1]["time_ratio"] == pytest.approx(2.0)
    assert "--repetitions=3" in written["command"]


def test_trees_take_turns_and_alternate_who_is_first(trees, tmp_path, run_program):
    words = ("--backends=jax,torch", "--repetitions=3")
    assert run_program("tools.compare_trees", *trees, *words).status == 0
    turns = ["old run", "new run", "new run", "old run", "old run", "new run"]
    of_one_backend = [*turns, "old memory", "new memory", "old ends", "new ends"]
    assert (tmp_path / "log").read_text().splitlines() == [
        *("old starts jax", "new starts jax", *of_one_backend),
        *("old starts torch", "new starts torch", *of_one_backend),
    ]


def test_each_tree_is_told_what_either_asks_for(trees, tmp_path, run_program):
    words = ("--backends=torch-dense", "--repetitions=1", "--variant=nano", "--mask_ratio=0.5")
    assert run_program("tools.compare_trees", *trees, *words).status == 0
    settings = [
        json.loads((tmp_path / tree / "settings.json").read_text()) for tree in ("old", "new")
    ]
    assert settings[0] == settings[1]
    assert (
        settings[0].items()
        >= {
            "library": "keras_convnextv2",
            "backend": "torch",
            "path": "dense",
            "variant": "nano",
            "mask_ratio": 0.5,
            "fast_paths": "auto",
            "depthwise": "auto",
        }.items()
    )


def test_a_tree_whose_process_ends_is_named(trees, tmp_path, run_program):
    (tmp_path / "new" / "answers.json").unlink()
    done = run_program("tools.compare_trees", *trees, "--backends=torch")
    assert done.status != 0
    assert re.search("'torch, new' ended with status 1", done.err.splitlines()[-1])


@pytest.mark.parametrize(
    "words, text",
    [
        ([], "--old must be given"),
        (["--old=nowhere"], "--old is no checkout of this repository: .*nowhere"),
        (["--old=.", "--backends=pytorch"], "'pytorch' is not of this library"),
        (["--old=.", "--backends=numpy"], "'numpy' does not run pretrain"),
        (["--old=.", "--variant=gigantic"], "--variant is one of atto, .*Received: gigantic"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(words, text, run_program):
    done = run_program("tools.compare_trees", *words)
    assert done.status != 0
    assert re.search(text, done.err.splitlines()[-1])
    assert "Traceback" not in done.err
