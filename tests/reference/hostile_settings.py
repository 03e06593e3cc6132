"""Flags and what a run's folder tells of it, to be damaged, and what reads them."""

import json
import shutil

from absl import flags
from absl.testing import flagsaver

from recipes import (
    augmentation_flags,
    finetune,
    flag_files,
    model_flags,
    run_folder,
    training_flags,
)
from tests.reference.fuzzing import Subject
from tests.reference.mutations import mutated_bytes, mutated_json

_RESULT = {"loss": 0.5, "model": "model.keras", "class_names": ["a", "b"], "per_class": {"a": 1.0}}
_LINES = [{"epoch": 0, "step": 0, "probe_knn": 0.5}, {"epoch": 1, "step": 3, "loss": 0.5}]
_VALUES = ("", "-1", "0", "1e999", "nan", "x", "9" * 400, "1,2", "[]", "true", "\u202e", "1x0", ",")


def _settings(*words):
    """The `Settings` of a fine-tuning with these words, after all that is made of flags alone."""
    with flagsaver.flagsaver():
        flags.FLAGS(flag_files.expand(["finetune", *words]))
        settings = training_flags.resolve(finetune.EMBEDDED_RUN, finetune.FOLDER_RUN)
        model_flags.variant_of(settings)
        augmentation_flags.augmentation(settings, channels=3).stages((0.5,) * 3)
        training_flags.num_updates(settings, 5, settings.epochs, settings.warmup_epochs)
        return settings


def _flags(folder):
    shutil.copy(flag_files.SETTINGS / "finetune_1k.flags", folder / "paper.flags")
    words = ("--output_dir=run", "--data_dir=pictures", "--crop_scale=0.2,1", "--image_size=32x48")
    (folder / "run.flags").write_text(_settings(*words).lines())
    return [folder / "paper.flags", folder / "run.flags"]


def _mutated_flags(content, rng, path):
    kind = rng.randrange(8)
    lines = content.split(b"\n")
    place = rng.randrange(len(lines))
    if kind == 0:
        return rng.randbytes(rng.choice((0, 1, 30, 3000)))
    if kind == 1:
        lines[place] += rng.choice((b"x", b",1", b"0", b"=")) * rng.choice((30, 300_000))
    elif kind == 2:
        lines[place] = b"--flagfile=" + rng.choice(
            (bytes(path), path.name.encode(), b"/dev/zero", b".", b"small_data", b"\xff", b"x\0y")
        )
    elif kind < 6:
        lines[place] = lines[place].partition(b"=")[0] + b"=" + rng.choice(_VALUES).encode()
    else:
        return mutated_bytes(content, rng)
    return b"\n".join(lines)


def _read_flags(path):
    """What --flagfile, and a program that is given the run's model, read of it."""
    settings = _settings(f"--flagfile={path}", "--output_dir=run")
    assert settings.output_dir == "run" and settings.batch_size > 0
    flag_files.lines_of(path)


def _run(folder):
    settings = _settings(f"--output_dir={folder}")
    with run_folder.opened(settings):
        pass
    (folder / "result.json").write_text(json.dumps(_RESULT, indent=1))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in _LINES))
    (folder / "checkpoints" / "step-00000003").mkdir(parents=True)
    return [folder / name for name in ("run.json", "result.json", "metrics.jsonl")]


def _mutated_run(content, rng, path):
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice((b"[", b'{"epoch":', b'{"a":')) * rng.choice((3, 900, 100_000))
    if kind < 4:
        return mutated_bytes(content, rng)
    if path.suffix == ".jsonl":
        lines = content.splitlines()
        lines[rng.randrange(len(lines))] = mutated_json(rng.choice(lines), rng)
        return b"\n".join(lines) + b"\n"
    return mutated_json(content, rng)


def _go_on(path):
    """What the same command does in the folder; what stood there stands there afterwards."""
    folder = path.parent
    before = sorted(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    names = {file.name for file in folder.iterdir()}
    hides_result = path.name == "metrics.jsonl"
    if hides_result:
        (folder / "result.json").rename(folder / "elsewhere")
    try:
        settings = _settings(f"--output_dir={folder}", "--workers=3")
        run_folder.result(settings, lambda folder: dict(_figures(folder)))
    finally:
        if hides_result:
            (folder / "elsewhere").replace(folder / "result.json")
        after = sorted(file.read_bytes() for file in folder.rglob("*") if file.is_file())
        assert after == before and {file.name for file in folder.iterdir()} == names


def _figures(folder):
    yield from run_folder.logged_before(folder).items()
    yield from run_folder.last_logs(folder).items()


SUBJECTS = {
    "flags": Subject(
        _flags, _mutated_flags, _read_flags, (flags.Error, flag_files.FlagFileError, ValueError)
    ),
    "run": Subject(_run, _mutated_run, _go_on, ValueError),
}
