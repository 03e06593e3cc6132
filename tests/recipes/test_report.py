"""Pages of runs: what stands in them, whatever the folder holds."""

import csv
import json
import os
import shutil

import numpy as np
import PIL.Image
import pytest

from tests.recipes.one_line import assert_one_line
from tests.recipes.report_reader import Report, assert_asks_for_nothing

pytestmark = pytest.mark.one_backend

HOSTILE = "<script>alert(1)</script>\" onload='x' <b>\u202e$\\frac$ {{ 7 * 7 }} \x1b[31m"


@pytest.fixture
def report_on(run_recipe, tmp_path):
    """Makes a report with these flags: (the page, what the program printed)."""

    def make(*words):
        path = tmp_path / "report.html"
        outcome = run_recipe("report", *words, f"--output={path}", "--json")
        assert outcome.status == 0, outcome.err
        report = Report(path)
        assert_asks_for_nothing(report)
        assert outcome.result["bytes"] == path.stat().st_size
        return report, outcome.result

    return make


@pytest.fixture
def copied(tmp_path):
    """A copy of a run's folder, which the test may change."""
    return lambda run: shutil.copytree(
        run.folder, tmp_path / run.folder.name, ignore=shutil.ignore_patterns("checkpoints")
    )


def files_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_pretraining(report_on, pretrained):
    folder = pretrained.folder
    before = files_of(folder)
    report, printed = report_on(f"--run={folder}")
    assert files_of(folder) == before  # it is only read
    assert "absent" not in printed
    assert report.texts("h1") == ["pretrained"]
    assert report.texts("h2") == ["Curves", "Reconstructions", "Settings and origin"]
    (sentence, state) = report.texts("p")[:2]
    assert "of depths 1, 1, 1, 1 and widths 4, 6, 8, 12" in sentence and "16 x 24" in sentence
    assert "with 60% of the patches hidden for 2 epochs in batches of 8" in sentence
    assert ", finished; its epochs took 0:0" in state

    result = json.loads((folder / "result.json").read_text())
    facts = report.facts()
    assert facts["loss"] == f"{result['loss']:.4g}" and facts["epochs"] == "2"
    assert facts["numpy"] == np.__version__
    assert "--epochs=2" in facts["command"] and "KERAS_BACKEND" in facts["command"]
    given = report.of("div", role="region")
    (given,) = [text for found, text in given if found["aria-label"] == "Settings that were given"]
    assert "decoder_width 8" in given and "mask_ratio" not in given
    charts = report.texts("figcaption")
    assert charts == ["loss", "gradient norm", "learning rate", "images/s"]
    assert len(report.of("svg", role="img")) == 4
    told = report.texts("p", **{"class": "unseen"})[0]
    last = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()][-1]
    assert f"{last['loss']:.4g} at epoch 2" in told


def test_reconstructions_stand_there_at_true_scale(report_on, pretrained):
    folder = pretrained.folder / "reconstructions"
    report, _ = report_on(f"--run={pretrained.folder}")
    width, height = 8 * 24 + 7 * 2, 16
    pictures = report.pictures()
    rows = [name for name in pictures if name.startswith("Images side by side: ")]
    assert [name.rpartition(": ")[2] for name in rows] == [
        *("original", "masked", "epoch 0", "epoch 1", "epoch 2", "every patch, epoch 2")
    ]
    last = np.asarray(PIL.Image.open(folder / "epoch-0002.png"))
    assert last.shape == (2 * height, width, 3)
    np.testing.assert_array_equal(np.asarray(pictures[rows[-2]]), last[height:])
    np.testing.assert_array_equal(np.asarray(pictures[rows[-1]]), last[:height])
    original = np.asarray(PIL.Image.open(folder / "original.png"))
    np.testing.assert_array_equal(np.asarray(pictures[rows[0]]), original)
    (animation,) = [picture for name, picture in pictures.items() if "Animation" in name]
    assert (animation.format, animation.n_frames) == ("GIF", 3)
    kept = PIL.Image.open(pretrained.folder / "reconstructions.gif")
    assert (kept.n_frames, kept.size) == (3, animation.size) == (3, (width, 2 * height + 16))
    for attributes, _ in report.of("img", **{"class": "pixels"}):
        shown = pictures[attributes["alt"]]
        zoom = int(attributes["width"]) / shown.width
        assert zoom == int(attributes["height"]) / shown.height == 4  # a whole number


def test_a_pretraining_that_kept_no_pictures_of_its_epochs(report_on, pretrained, copied):
    folder = copied(pretrained)
    shutil.rmtree(folder / "reconstructions")
    report, printed = report_on(f"--run={folder}")
    (picture,) = report.pictures().values()
    assert picture.size == PIL.Image.open(folder / "reconstructions.png").size
    assert "Reconstructions" in report.texts("h2") and "absent" not in printed


def test_a_fine_tuning(report_on, finetuned):
    report, _ = report_on(f"--run={finetuned.folder}")
    assert report.texts("h2") == ["Curves", "Test", "Settings and origin"]
    result = json.loads((finetuned.folder / "result.json").read_text())
    assert f"{result['test_accuracy']:.1%}" in report.texts("dl")[0]
    with open(finetuned.folder / "test" / "per_class.csv", encoding="utf-8") as file:
        classes = {row["class"]: float(row["f1"]) for row in csv.DictReader(file)}
    facts = report.facts()
    assert set(classes) == {"boot", "coat", "dress"} and classes.keys() <= facts.keys()
    listed = [name for name in report.texts("th", scope="row") if name in classes]
    assert [classes[name] for name in listed] == sorted(classes.values())
    assert [name.partition(" ")[0] for name in report.pictures()] == ["Confusion", "How", "The"]
    # An evaluation alone, as of recipes.evaluate.
    report, printed = report_on(f"--run={finetuned.folder / 'test'}")
    assert report.texts("h2") == ["Test", "Settings and origin"] and "absent" not in printed


def test_several_runs(report_on, finetuned, copied):
    other = copied(finetuned)
    record = json.loads((other / "run.json").read_text())
    record["settings"]["learning_rate"] = 0.5
    (other / "run.json").write_text(json.dumps(record))
    (other / "result.json").unlink()
    report, _ = report_on(f"--run={finetuned.folder}", f"--run={other}")
    # Of one name: they are called by their paths.
    assert report.texts("dt") == [str(finetuned.folder), str(other)]
    assert ", finished" in report.texts("dd")[0] and "not finished: 2 of 2" in report.texts("dd")[1]
    tables = report.texts("table")
    assert tables[0].endswith("learning_rate 0.02 0.5") and "output" not in tables[0]
    result = json.loads((finetuned.folder / "result.json").read_text())
    assert f"test accuracy {result['test_accuracy']:.1%} –" in tables[1]
    charts = report.texts("figcaption")
    assert charts[0] == "loss" and {"accuracy", "val accuracy", "learning rate"} <= set(charts)
    assert report.texts("ul", **{"class": "keys"})[0] == f"{finetuned.folder} {other}"


def hostile_run(folder):
    """A run all of whose names are hostile, and figures that no run has."""
    folder.mkdir()
    record = {
        "command": {"program": HOSTILE, "flags": [HOSTILE, 3, None], "environment": {HOSTILE: 1}},
        "settings": {HOSTILE: HOSTILE, "depths": [HOSTILE], "widths": {"a": 1}, "size": ["x"]},
        "given": [HOSTILE, ["x"]],
        "started": 7,
        "device": {"x": [HOSTILE]},
        "versions": [HOSTILE],
        "machine": {HOSTILE: HOSTILE},
    }
    (folder / "run.json").write_text(json.dumps(record))
    lines = [
        {"epoch": 1, "loss": 1e308, HOSTILE: 0.5, "seconds": "long", "images_per_second": []},
        {"epoch": 2, "loss": 5e-324, HOSTILE: -1.5, "probe_ridge": True, "accuracy": 10**400},
        {"epoch": 3, "loss": float("nan"), "measure_cosine_distance_stage0": 1},
        {"epoch": "4", "loss": 1}, {"epoch": 10**30, "loss": 1}, [1], 5,
    ]  # fmt: skip
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n" + "[" * 10**5)
    (folder / "result.json").write_text(json.dumps({HOSTILE: HOSTILE, "loss": [1, {"a": HOSTILE}]}))
    (folder / "test").mkdir()
    classes = [{"class": HOSTILE, "f1": HOSTILE}, {"class": None}, 3]
    evaluation = {"per_class": classes, "images_from": HOSTILE}
    (folder / "test" / "report.json").write_text(json.dumps(evaluation))
    return folder


def test_hostile_names_are_only_text(report_on, tmp_path):
    folder = hostile_run(tmp_path / "run <i>")
    report, _ = report_on(f"--run={folder}")
    assert report.texts("h1") == ["run <i>"]
    # As it is, but for what a terminal or a text's direction would obey; and it is no template.
    told = HOSTILE.replace("\u202e", "\\u202e").replace("\x1b", "\\x1b")
    assert "{{ 7 * 7 }}" in told and report.facts()[told] == told
    assert not report.of("b") and not report.of("i")
    report, _ = report_on(f"--run={folder}", f"--run={hostile_run(tmp_path / 'other')}")
    assert report.texts("dt") == ["run <i>", "other"]


FILES = ("run.json", "result.json", "metrics.jsonl", "reconstructions/epoch-0002.png")
DAMAGES = {
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "bytes": lambda path: path.write_bytes(bytes(range(256))),
    "depth": lambda path: path.write_text('{"a":' * 100_000),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_cannot_be_read_is_named_and_the_rest_is_shown(report_on, pretrained, copied, damage):
    folder = copied(pretrained)
    for name in FILES:
        if (name, damage) != ("metrics.jsonl", "cut"):  # which loses its last line alone
            DAMAGES[damage](folder / name)
    report, printed = report_on(f"--run={folder}")
    for name in FILES:
        told = [line for line in printed["absent"] if line.startswith(name.rpartition("/")[2])]
        assert bool(told) == ((name, damage) != ("metrics.jsonl", "cut")), (name, printed)
    assert "Not in this page" in report.texts("h2")
    rows = [name for name in report.pictures() if "side by side" in name]
    assert [name.rpartition(": ")[2] for name in rows][-2:] == ["epoch 1", "every patch, epoch 1"]


def test_a_run_that_has_lost_or_not_yet_written_its_files(report_on, pretrained, copied):
    folder = copied(pretrained)
    for name in ("result.json", "reconstructions.gif", "reconstructions.png"):
        (folder / name).unlink()
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text(lines[0])
    report, printed = report_on(f"--run={folder}")
    assert "absent" not in printed  # a run that is still going has lost nothing
    assert "not finished: 1 of 2 epochs are done, the last at " in report.texts("p")[1]
    shutil.rmtree(folder / "reconstructions")
    (folder / "metrics.jsonl").unlink()
    report, printed = report_on(f"--run={folder}")
    assert printed["absent"] == ["metrics.jsonl is missing"]
    assert report.texts("h2") == ["Not in this page", "Settings and origin"]


def test_the_paper_s_experiments(report_on, tmp_path):
    from tests.tools.test_ablation_results import compared
    from tools.ablation_report import write

    folder = tmp_path / "ablations"
    of = compared([10.0, 11.0, 12.0], [22.0, 23.0], [20.0, 21.0], [])
    write(folder, [of], {"data_dir": "pictures"}, "3 of 4 runs are done.")
    (folder / "settings.json").write_text(json.dumps({"data_dir": HOSTILE, "variant": None}))
    report, printed = report_on(f"--ablations={folder}")
    assert "absent" not in printed
    rows = [text for text in report.texts("tr") if text.startswith(("low", "middle", "base", "un"))]
    assert rows == [
        "low 79.0 11.0 ± 1.0 3 -9.5 -5.0 agrees 0",
        "middle 83.0 22.5 ± 0.7 2 +2.0 -1.0 does not agree 0",
        "base 84.0 20.5 ± 0.7 2 – – 0",
        "untold – not run yet 0 – – –",
    ]
    (bold,) = report.texts("tr", **{"class": "reference"})
    assert bold == rows[2]
    assert report.texts("tr")[1] == "Parts 1 1 –"  # agree, do not, within the spread
    assert len(report.of("svg", role="img")) == 1
    assert "3 of 4 rows have a result." in report.texts("p")[1]

    # Of an earlier tool, whose table had no titles, and one with figures that are none.
    lines = list(csv.reader((folder / "results.csv").open(encoding="utf-8")))
    kept = [place for place, name in enumerate(lines[0]) if name not in ("title", "reference")]
    lines[1][lines[0].index("mean")], lines[2][lines[0].index("row")] = "inf", HOSTILE
    with open(folder / "results.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([line[place] for place in kept] for line in lines)
    (folder / "settings.json").unlink()
    report, printed = report_on(f"--ablations={folder}")
    assert printed["absent"] == ["settings.json is missing"]
    assert report.texts("h2")[1:] == ["In short", "parts"] and not report.of("b")
    assert any(text.startswith("low 79.0 not run yet") for text in report.texts("tr"))


def test_what_is_refused_is_one_line(run_recipe, pretrained, tmp_path):
    notes = tmp_path / "notes.html"
    notes.write_text("mine")
    (tmp_path / "empty").mkdir()
    run = f"--run={pretrained.folder}"
    for words, said in (
        ([], "Give --run, once or several times, or --ablations"),
        ([run, f"--ablations={tmp_path}"], "Give --run, once or several times, or --ablations"),
        ([f"--run={tmp_path / 'nowhere'}"], "nowhere is no folder"),
        ([f"--run={tmp_path / 'empty'}"], "empty holds no run: none of run.json, result.json"),
        ([f"--ablations={tmp_path}"], "results.csv is missing. Name the --output_dir of tools."),
        ([run, f"--output={notes}"], "notes.html is no report of this program"),
        ([run, f"--output={tmp_path}"], "is a folder. Name a file, such as report.html"),
    ):
        assert_one_line(run_recipe("report", *words), "report", said)
    assert notes.read_text() == "mine"
