"""Names that come from outside, of files and of classes: shown safely, and read as they are."""

import json
import os

import numpy as np
import PIL.Image
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.export import export_model
from recipes.printable import printable
from tests.recipes.one_line import assert_one_line
from tests.reference.processes import run_python
from tests.reference.random_weights import randomize

pytestmark = pytest.mark.one_backend
CLASS_NAMES = ("red \x1b[31m", "日傘", "line\nend")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The path of an exported classifier of `CLASS_NAMES`."""
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    variant = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
    backbone = kc.ConvNeXtV2Backbone(variant, (32, 48, 3), stem_stride=2)
    classifier = kc.ConvNeXtV2Classifier(backbone, len(CLASS_NAMES), class_names=CLASS_NAMES)
    randomize(classifier, np.random.default_rng(5))
    export_model(classifier, path)
    return path


def write_image(path, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype="uint8")
    PIL.Image.fromarray(pixels).save(path)
    return str(path)


def test_what_a_terminal_would_obey_is_shown_as_escapes():
    shown = printable("a\x1b[31m\r\n\x9b\u202e\udcff")
    assert shown == r"a\x1b[31m\r\n\x9b\u202e\udcff"
    for harmless in ("日傘 é", "क्\u200dष", "a\\b", ""):
        assert printable(harmless) == harmless


def test_control_characters_of_files_and_classes_do_not_reach_the_terminal(
    run_recipe, model, tmp_path
):
    folder = tmp_path / "folder\x1b[0m"
    folder.mkdir()
    good = write_image(folder / "a\x1b[2J\n  99.9 %  forged.png")
    broken = folder / "b\x1b]0;title\x07.png"
    broken.write_bytes(b"words")
    (folder / "c\x07.txt").touch()
    outcome = run_recipe("predict", f"--model={model}", f"--images={folder}")
    assert outcome.status == 2
    lines = outcome.out.splitlines()
    assert len(lines) == 4
    assert lines[0].endswith(r"folder\x1b[0m/a\x1b[2J\n  99.9 %  forged.png")
    shown = {line.partition("%")[2].strip() for line in lines[1:]}
    assert shown == {r"red \x1b[31m", "日傘", r"line\nend"}
    assert r"b\x1b]0;title\x07.png cannot be read" in outcome.err
    assert r"folder\x1b[0m: passed over 1 file of other kinds (1 .txt)" in outcome.err
    assert (outcome.out + outcome.err).replace("\n", "").isprintable()
    # To a program they go as they are.
    as_json = run_recipe("predict", f"--model={model}", f"--images={folder}", "--json")
    files = [json.loads(line)["file"] for line in as_json.out.splitlines()]
    assert files == [good, str(broken)]
    missing = run_recipe("predict", f"--model={model}", "--images=no\x1b[31m.png")
    assert_one_line(missing, "predict", r"there is no no\x1b[31m.png")


def test_names_with_commas_are_names_where_there_is_such_a_file(run_recipe, model, tmp_path):
    names = ["a.png", "b, c.png", "d.png", 'e "f", g.png', "line\nend, h.png"]
    paths = [write_image(tmp_path / name, seed) for seed, name in enumerate(names)]

    def files(*words):
        outcome = run_recipe("predict", f"--model={model}", "--json", *words)
        assert outcome.status == 0, outcome.err
        return [json.loads(line)["file"] for line in outcome.out.splitlines()]

    assert files(f"--images={paths[1]}") == [paths[1]]
    assert files(f"--images={paths[0]}, {paths[2]}") == [paths[0], paths[2]]
    assert files(*(f"--images={path}" for path in paths)) == sorted(paths)
    assert files(f'--images="{paths[1]}",{paths[0]}') == [paths[0], paths[1]]
    many = ",".join([paths[0]] * 2000)  # longer than any name
    assert files(f"--images={many}") == [paths[0]]


def test_a_locale_without_the_letters_of_a_name_does_not_end_the_output(model, tmp_path):
    paths = [write_image(tmp_path / name) for name in ("a.png", "日傘.png", "z.png")]
    os.link(paths[0], os.path.join(os.fsencode(tmp_path), b"b\xff.png"))
    words = ("-m", "recipes.predict", f"--model={model}", f"--images={tmp_path}")
    for variables in (
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "utf-8"},
    ):
        done = run_python(*words, **variables)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == 4 * 4
        assert lines[0] == paths[0] and rf"{tmp_path}/b\udcff.png" in lines and paths[2] in lines


@pytest.mark.parametrize("recipe", ["predict", "pretrain"])
def test_a_named_pipe_is_not_waited_for(run_recipe, model, tmp_path, recipe):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for place in range(4):
        write_image(folder / f"{place}.png", place)
    os.mkfifo(folder / "x.jpg")
    held = os.open(folder / "x.jpg", os.O_RDWR)  # so that a reader is given these words
    os.write(held, b"no image " * 100)
    if recipe == "predict":
        words = (f"--model={model}", f"--images={folder}")
    else:
        words = ("--depths=1,1,1,1", "--widths=4,6,8,12", "--stem_stride=1", "--decoder_width=8")
        words += (f"--data_dir={folder}", "--image_size=16x24", "--batch_size=5", "--epochs=1")
        words += (f"--output_dir={tmp_path / 'run'}",)
    outcome = run_recipe(recipe, *words)
    os.close(held)
    assert outcome.status == 2
    assert "x.jpg cannot be read as an image (ValueError: it is a named pipe" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_picture_above_the_limit_is_read_with_the_flag(run_recipe, model, tmp_path):
    PIL.Image.new("RGB", (2000, 1000), (9, 99, 200)).save(tmp_path / "a.png")
    words = (f"--model={model}", f"--images={tmp_path}")
    outcome = run_recipe("predict", *words, "--max_megapixels=1.5")
    assert_one_line(outcome, "predict", "1 of 1 files")
    assert "2000x1000 pixels are 2 million, above the limit of 1.5" in outcome.err
    assert "--max_megapixels=2," in outcome.err
    assert run_recipe("predict", *words, "--max_megapixels=2").status == 0
