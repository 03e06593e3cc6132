"""The folder of a run: new, or one that goes on; of one program at a time."""

import contextlib
import json
import os
import re
import shutil
import sys
from pathlib import Path

from absl import flags

from . import processes, run_record, run_settings
from .printable import printable

FLAGS = flags.FLAGS

flags.DEFINE_bool(
    "allow_changed_settings",
    False,
    "Go on with the run in --output_dir although flags have other values than it was begun with.",
)

RESULT = "result.json"
LOCK = "run.lock"  # held by the program at work in a folder
_CHECKPOINTS = "checkpoints"
# What a run that ended before its first save leaves: nothing that a new run could go on from.
_LEFT_BY_A_START = re.compile(
    r"settings\.flags|run\.json|run\.lock|metrics\.jsonl|metrics\.before-\d+\.jsonl|curves\.png|"
    r"result\.before-\d+\.json|non_finite_loss\.json|checkpoints|board|reconstructions|"
    r"unfinished\..*"
)
_NO_CHECKPOINT = re.compile(r"training\.lock|best-\d+\.safetensors|unfinished\..*")
_FIRST_EPOCH = 1  # in metrics.jsonl; 0 stands before the first step


def check(settings):
    """Looks at --output_dir before anything is read or made.

    Raises:
        ValueError: it is a file, or holds something other than a run that can go on.
    """
    folder = Path(settings.output_dir)
    if not processes.is_writer():
        return folder
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output_dir: {folder} is a file. Name a folder.")
    if folder.is_dir() and not (is_begun(folder) or _holds_only_a_start(folder)):
        raise ValueError(
            f"--output_dir: {folder} is not empty, and holds no run that could go on. A run "
            "overwrites nothing. Name a new folder."
        )
    return folder


def is_begun(folder):
    """Whether a run in a folder has saved what it can go on from, or its result."""
    if not all((folder / name).is_file() for name in ("settings.flags", "run.json")):
        return False
    return (folder / RESULT).is_file() or has_checkpoints(folder / _CHECKPOINTS)


def has_checkpoints(folder):
    """Whether there are any in a folder, those of all parts of a training counted."""
    return folder.is_dir() and any(folder.glob("**/step-*"))


def _holds_only_a_start(folder):
    names = {path.name for path in folder.iterdir()} - {LOCK}
    if names and "settings.flags" not in names:
        return False
    if not all(map(_LEFT_BY_A_START.fullmatch, names)):
        return False
    saved = [path.name for path in (folder / _CHECKPOINTS).rglob("*") if path.is_file()]
    return all(map(_NO_CHECKPOINT.fullmatch, saved)) and _last_epoch(folder) is not None


def _last_epoch(folder):
    """The last epoch that metrics.jsonl tells of, 0 without any; None where it is something else.

    What is behind the last line's end was being written when the run ended.
    """
    metrics = folder / "metrics.jsonl"
    if not metrics.exists():
        return 0
    try:
        text = metrics.read_text()
        if text and "\n" not in text:
            return None
        return max((line["epoch"] for line in _lines_in(text)), default=0)
    except ValueError:
        return None


def _lines_in(text):
    """The lines of a metrics.jsonl, a dict each; what is behind the last line's end is none.

    Raises:
        ValueError: one is something else.
    """
    *lines, _ = text.split("\n")
    read = []
    for number, line in enumerate(lines, 1):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or type(found.get("epoch")) is not int:
            raise ValueError(f"line {number} tells of no epoch")
        read.append(found)
    return read


def _metrics(folder):
    """As `_lines_in`, of a run's file; none within the first epoch, when there is no file."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    try:
        return _lines_in(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}). Mend it, or remove that line.") from error


def _put_aside(path):
    """Another name for a file of before, metrics.before-1.jsonl."""
    number = 1
    while (aside := path.with_name(f"{path.stem}.before-{number}{path.suffix}")).exists():
        number += 1
    os.replace(path, aside)


@contextlib.contextmanager
def opened(settings):
    """Makes --output_dir with settings.flags and run.json, or goes on with what is there.

    Within it no other program can open the folder.

    Yields:
        Path.

    Raises:
        ValueError: as `check`; another program is at work there; or the run there was begun with
            other settings, which are named.
    """
    from keras_convnextv2.runs import CheckpointError
    from keras_convnextv2.runs.lock import locked

    if not processes.is_writer():
        processes.of_writer(0)  # it makes the folder
        yield Path(settings.output_dir)
        return
    folder = check(settings)
    try:
        lock = locked(folder, LOCK)
    except CheckpointError as error:
        raise ValueError(f"--output_dir: {error}") from None
    try:
        check(settings)  # again: it may have ended in between
        if is_begun(folder):
            differ = _differences(folder, settings)
            if differ and (folder / RESULT).is_file():
                _put_aside(folder / RESULT)  # it is of the settings before
        else:
            # Of a start; they would be drawn, too.
            for name in ("board", "reconstructions"):
                shutil.rmtree(folder / name, ignore_errors=True)
            if _last_epoch(folder) >= _FIRST_EPOCH:
                _put_aside(folder / "metrics.jsonl")
            (folder / "metrics.jsonl").unlink(missing_ok=True)
            _write_settings(folder, settings)
        processes.of_writer(0)
        yield folder
    finally:
        lock.release()


def keep_settings(folder, settings):
    """Where others are allowed, settings.flags and run.json are now those of `settings`."""
    if settings.allow_changed_settings:
        _write_settings(folder, settings)


def _write_settings(folder, settings):
    from keras_convnextv2.whole_files import whole_file

    # With names of files in the bytes that the system knows them by, whatever the locale.
    with whole_file(folder / "settings.flags") as unfinished:
        unfinished.write_bytes(os.fsencode(settings.lines()))
    run_record.write_run_record(folder, settings.as_dict(), settings.seed)


def _differences(folder, settings):
    """How the settings differ from those that the run was begun with, a list of str.

    Raises:
        ValueError: they do, and --allow_changed_settings is not given.
    """
    from keras_convnextv2.runs.differences import differences

    try:
        before = json.loads((folder / "run.json").read_text())["settings"]
        before = _that_matter(before)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if settings.allow_changed_settings:
            return ["unknown"]
        raise ValueError(
            f"--output_dir: {folder / 'run.json'} is damaged, so it cannot be seen whether the run "
            "has these settings. With --allow_changed_settings it goes on with those of now."
        ) from error
    now = {
        name: value for name, value in settings.as_dict().items() if name not in run_settings.FREE
    }
    # A flag that came after the run was begun: it was as if it had its default.
    before = {name: FLAGS[name].default for name in now if name in FLAGS} | before
    lines = differences(before, json.loads(json.dumps(now, default=str)))
    if lines and not settings.allow_changed_settings:
        raise ValueError(
            f"--output_dir: the run in {folder} was begun with other settings: {'; '.join(lines)}. "
            "Give it those again, name a new folder, or go on with those of now by "
            "--allow_changed_settings."
        )
    return lines


def _that_matter(values):
    return {name: value for name, value in values.items() if name not in run_settings.FREE}


def result(settings, run):
    """What a run prints: of `run(folder)`, or of the finished run in the folder.

    Args:
        settings: `Settings`.
        run: function of the folder, a Path, that does all of the run or what is left of it, and
            returns a flat dict.

    Raises:
        ValueError: as `opened`.
    """
    from keras_convnextv2.whole_files import whole_file

    with opened(settings) as folder:
        path = folder / RESULT
        if processes.of_writer(int(path.is_file())):
            if not processes.is_writer():
                return {}
            print(printable(f"The run in {folder} is finished; its result:"), file=sys.stderr)
            return _read(path)
        found = run(folder)
        if processes.is_writer():
            with whole_file(path) as unfinished:
                unfinished.write_text(json.dumps(found, indent=1) + "\n")
        processes.of_writer(0)  # none leaves before it has written
        return found


def _read(path):
    try:
        found = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}). Remove it, and it is made anew.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged. Remove it, and it is made anew.")
    return found


def log_before(folder, figures):
    """Writes figures of the weights before the first step, a dict, as epoch 0 of metrics.jsonl."""
    line = {"epoch": _FIRST_EPOCH - 1, "step": 0, **figures}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")


def logged_before(folder):
    """What `log_before` wrote; an empty dict where it did not."""
    lines = _metrics(folder)
    return _figures(lines[0]) if lines and lines[0]["epoch"] < _FIRST_EPOCH else {}


def last_logs(folder):
    """The figures of the last epoch in metrics.jsonl, a dict; an empty one without any."""
    lines = _metrics(folder)
    return _figures(lines[-1]) if lines else {}


def _figures(line):
    others = ("epoch", "step", "learning_rate", "seconds", "images_per_second")
    return {name: value for name, value in line.items() if name not in others}
