"""Files of flags, `--flagfile` and the settings.flags of a run: read whole, or named."""

import json
import os

import pytest

import keras_convnextv2 as kc
from recipes import flag_files, run_settings
from tests.recipes.one_line import assert_one_line
from tests.reference.processes import run_python

pytestmark = pytest.mark.one_backend


def test_a_file_stands_for_its_lines_where_it_is_named(tmp_path):
    inner, outer = tmp_path / "inner.flags", tmp_path / "outer.flags"
    inner.write_text("--seed=3\n")
    outer.write_text(f"# a comment\n\n//another\n--json\n--flagfile={inner}\n  --name=a = b \r\n")
    words = ["program", "--x=1", f"--flagfile={outer}", "-flagfile", str(inner), "--flagfile=", "y"]
    expected = ["program", "--x=1", "--json", "--seed=3", "--name=a = b", "--seed=3", "y"]
    assert flag_files.expand(words) == expected


def test_a_value_may_begin_with_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.flags").write_text("--output_dir=~/run\n")
    words = ["program", "--flagfile=~/a.flags", "--weights=~", "--a=b~/c", "--b=~c", "~/d"]
    of_home = [f"--output_dir={tmp_path}/run", f"--weights={tmp_path}"]
    assert flag_files.expand(words) == ["program", *of_home, "--a=b~/c", "--b=~c", "~/d"]


def test_names_are_read_as_those_of_files_are(tmp_path):
    path = tmp_path / "settings.flags"
    path.write_bytes("--data_dir=фото\n".encode() + b"--weights=\xe9t\xe9\n")
    data_dir, weights = flag_files.lines_of(path)
    assert data_dir == "--data_dir=фото"
    assert os.fsencode(weights) == b"--weights=\xe9t\xe9"


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n\x00\xff\xfe", b"--seed=1\n\xff\xfe\x00", b"--se\x1bed=1", b"words"],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_file_of_something_else_is_named(run_recipe, tmp_path, content, nested):
    path = tmp_path / "noise.flags"
    path.write_bytes(content)
    named = path
    if nested:
        named = tmp_path / "outer.flags"
        named.write_text(f"--flagfile={path}\n")
    outcome = run_recipe("pretrain", f"--flagfile={named}", f"--output_dir={tmp_path / 'run'}")
    assert_one_line(outcome, "pretrain", str(path), "is no file of flags", "--name=value")
    assert outcome.err.replace("\n", "").isprintable()


def test_a_file_that_is_not_there_or_names_itself(run_recipe, tmp_path):
    outcome = run_recipe("pretrain", f"--flagfile={tmp_path / 'none.flags'}")
    assert_one_line(outcome, "pretrain", "none.flags", "cannot be read", "No such file")
    outcome = run_recipe("finetune", "--flagfile=finetune_1k_ato")
    names = [path.stem for path in flag_files.SETTINGS.iterdir()]
    assert len(names) > 20
    assert_one_line(outcome, "finetune", "--flagfile=finetune_1k_ato", *names, ". See --help.")
    path = tmp_path / "circle.flags"
    path.write_text(f"--flagfile={path}")
    assert_one_line(run_recipe("pretrain", f"--flagfile={path}"), "pretrain", "names itself")


def test_damaged_settings_beside_a_model_are_named_where_they_are_read(
    run_recipe, images_dir, tmp_path
):
    variant = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
    backbone = kc.ConvNeXtV2Backbone(variant, (16, 24, 3), stem_stride=1)
    kc.save_weights(kc.ConvNeXtV2Classifier(backbone, 3), tmp_path / "model")
    (tmp_path / "settings.flags").write_bytes(bytes(range(256)))
    words = (f"--weights={tmp_path}", f"--data_dir={images_dir}")
    outcome = run_recipe("evaluate", *words)
    assert_one_line(outcome, "evaluate", str(tmp_path / "settings.flags"))
    # The model itself says all that other programs ask.
    (tmp_path / "settings.flags").write_text(f"--data_dir={images_dir}\n")
    assert run_recipe("evaluate", *words).status == 0


def test_a_warm_up_that_follows_from_the_epochs_follows_from_other_epochs(
    run_recipe, pretrained, tmp_path
):
    path = pretrained.folder / "settings.flags"
    names = {line.partition("=")[0] for line in flag_files.lines_of(path)}
    assert {"--epochs", "--max_shift", "--min_learning_rate"} <= names
    assert "--warmup_epochs" not in names
    values = json.loads((pretrained.folder / "run.json").read_text())["settings"]
    assert values["warmup_epochs"] == 0.2  # of 2 epochs
    words = (f"--flagfile={path}", "--epochs=30", "--dry_run", f"--output_dir={tmp_path / 'run'}")
    again = run_recipe("pretrain", *words)
    assert "30 epochs of 3 steps of 8 images" in again.err and "after 9 steps" in again.err
    # What is given is kept.
    settings = run_settings.from_flags().replaced(max_shift=None, warmup_epochs=4.0)
    settings = settings.derived({"max_shift": 1, "warmup_epochs": 3.0})
    assert (settings.max_shift, settings.warmup_epochs) == (1, 4.0)
    assert "--warmup_epochs=4.0\n" in settings.lines() and "max_shift" not in settings.lines()
    assert "--max_shift=2\n" in settings.replaced(max_shift=2).lines()


def test_a_run_can_be_started_again_where_the_locale_is_not_utf8(images_dir, tmp_path):
    images_dir = images_dir.rename(tmp_path / "фото")
    words = ("--depths=1,1,1,1", "--widths=4,6,8,12", "--stem_stride=1", "--decoder_width=8")
    words += (f"--data_dir={images_dir}", "--image_size=16x24", "--batch_size=8", "--epochs=1")
    ascii_alone = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    first, second = tmp_path / "first", tmp_path / "second"
    done = run_python("-m", "recipes.pretrain", *words, f"--output_dir={first}", **ascii_alone)
    assert done.returncode == 0, done.stderr
    settings = first / "settings.flags"
    assert f"--data_dir={images_dir}" in settings.read_text(encoding="utf-8")
    for variables in (ascii_alone, {}):
        again = (f"--flagfile={settings}", f"--output_dir={second}", "--dry_run")
        done = run_python("-m", "recipes.pretrain", *again, **variables)
        assert done.returncode == 0, done.stderr


def test_the_recipes_own_settings_are_not_taken_from_where_a_program_is_started(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "finetune_1k").mkdir()  # the output folder of somebody's run
    (tmp_path / "small_data").write_text("--epochs=7\n")
    words = flag_files.expand(["--flagfile=finetune_1k_atto"])
    assert "--ema_momentum=0.9999" in words and "--layer_decay=0.9" in words
    (tmp_path / "mine.flags").write_text("--flagfile=beside\n")
    (tmp_path / "beside").write_text("--seed=3\n")
    monkeypatch.chdir("/")
    assert flag_files.expand([f"--flagfile={tmp_path / 'mine.flags'}"]) == ["--seed=3"]


def test_the_defaults_for_a_folder_are_those_of_its_settings_file(tmp_path):
    (tmp_path / "small_data").write_text("--epochs=7\n")
    lines = (
        f"import os; os.chdir({str(tmp_path)!r}); import recipes.finetune as f; print(f.FOLDER_RUN)"
    )
    done = run_python("-c", lines)
    assert done.returncode == 0 and "'epochs': 50" in done.stdout, done.stderr


def test_files_that_lead_to_ever_more_files_are_refused(tmp_path):
    for number in range(9):  # the last would be read 10**9 times
        lines = f"--flagfile={tmp_path / str(number + 1)}\n" * 10
        (tmp_path / str(number)).write_text(lines)
    (tmp_path / "9").write_text("--seed=3\n")
    with pytest.raises(flag_files.FlagFileError, match="leads to more than 100"):
        flag_files.expand([f"--flagfile={tmp_path / '0'}"])
    (tmp_path / "sub").mkdir()
    (tmp_path / "circle").write_text("--flagfile=sub/../circle\n")
    with pytest.raises(flag_files.FlagFileError, match="names itself"):
        flag_files.expand([f"--flagfile={tmp_path / 'circle'}"])


@pytest.mark.parametrize(
    ("path", "content"),
    [("/dev/zero", None), (None, "#" * (1 << 20) + "\n"), (None, "--" + "x" * 99)],
)
def test_a_file_that_is_too_long_or_has_such_names_is_refused(tmp_path, path, content):
    if path is None:
        path = tmp_path / "long.flags"
        path.write_text(content)
    with pytest.raises(
        flag_files.FlagFileError, match="more than 1,048,576 bytes|is no file of fl"
    ):
        flag_files.expand([f"--flagfile={path}"])


def test_a_flag_of_a_file_does_not_take_the_next_word_as_its_value(run_recipe, tmp_path):
    (tmp_path / "cut.flags").write_text("--json\n--data_dir")
    words = (f"--flagfile={tmp_path / 'cut.flags'}", f"--output_dir={tmp_path / 'run'}")
    outcome = run_recipe("pretrain", *words)
    assert_one_line(outcome, "pretrain", "a file has --data_dir without a value")
