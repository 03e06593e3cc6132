"""The folder of a run: new, or one that goes on; of one program at a time."""

import contextlib
import json
import os
import shutil
import sys
from pathlib import Path

from absl import flags

from . import run_record
from .printable import printable

FLAGS = flags.FLAGS

flags.DEFINE_bool(
    "allow_changed_settings",
    False,
    "Go on with the run in --output_dir although flags have other values than it was begun with.",
)

RESULT = "result.json"
_LOCK = "run.lock"
_CHECKPOINTS = "checkpoints"
# What a run that ended before its first save leaves: nothing that a new run could lose.
_LEFT_BY_A_START = {
    "settings.flags",
    "run.json",
    "metrics.jsonl",
    "non_finite_loss.json",
    _CHECKPOINTS,
    "board",
}
_UNFINISHED = "unfinished."
# Flags that change nothing in what a run computes.
_FREE = {
    "output_dir",
    "workers",
    "json",
    "dry_run",
    "traceback",
    "backend_logs",
    "jax_cache_dir",
    "allow_changed_settings",
    "save_every",
    "keep_checkpoints",
}
_MOST_TOLD = 6  # differences
_FIRST_EPOCH = 1  # in metrics.jsonl; 0 stands before the first step


def check(settings):
    """Looks at --output_dir before anything is read or made.

    Raises:
        ValueError: it is a file, or holds something other than a run that can go on.
    """
    folder = Path(settings.output_dir)
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


def has_checkpoints(folder, whole=True):
    """Whether there are any in a folder; `whole`: those of all parts of a training count."""
    return folder.is_dir() and any(folder.glob("**/step-*" if whole else "step-*"))


def _holds_only_a_start(folder):
    names = {path.name for path in folder.iterdir() if not path.name.startswith(_UNFINISHED)}
    names.discard(_LOCK)
    if names and "settings.flags" not in names or names - _LEFT_BY_A_START:
        return False
    checkpoints, metrics = folder / _CHECKPOINTS, folder / "metrics.jsonl"
    has_saved = checkpoints.exists() and any(
        not path.name.startswith(_UNFINISHED) and (path.is_file() or any(path.iterdir()))
        for path in checkpoints.iterdir()
    )
    return not has_saved and not (metrics.exists() and _tells_of_epochs(metrics))


def _tells_of_epochs(metrics):
    """Whether there is anything in a metrics.jsonl but the line of `log_before`."""
    try:
        lines = map(json.loads, metrics.read_text().splitlines())
        return any(line["epoch"] >= _FIRST_EPOCH for line in lines)
    except (ValueError, TypeError, KeyError):  # a line of somebody else, or half of one
        return True


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
    import filelock

    from keras_convnextv2.whole_files import whole_file

    folder = check(settings)
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise ValueError(
            f"--output_dir: another program is at work in {folder}. Wait for it, or name a new "
            "folder."
        ) from None
    try:
        check(settings)  # again: it may have ended in between
        if is_begun(folder):
            _demand_same_settings(folder, settings)
        else:
            # Of a start; they would be drawn, too.
            shutil.rmtree(folder / "board", ignore_errors=True)
            (folder / "metrics.jsonl").unlink(missing_ok=True)
        if not is_begun(folder) or settings.allow_changed_settings:
            # With names of files in the bytes that the system knows them by, whatever the locale.
            with whole_file(folder / "settings.flags") as unfinished:
                unfinished.write_bytes(os.fsencode(settings.lines()))
            run_record.write_run_record(folder, settings.as_dict(), settings.seed)
        yield folder
    finally:
        lock.release()


def _demand_same_settings(folder, settings):
    if settings.allow_changed_settings:
        return
    try:
        before = json.loads((folder / "run.json").read_text())["settings"]
        names = [name for name in before if name not in _FREE]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"--output_dir: {folder / 'run.json'} is damaged, so it cannot be seen whether the run "
            "has these settings. With --allow_changed_settings it goes on with those of now."
        ) from error
    now = json.loads(json.dumps(settings.as_dict(), default=str))
    lines = [
        f"{name} was {_shown(before.get(name))}, is {_shown(now.get(name))}"
        for name in [*names, *(name for name in now if name not in before and name not in _FREE)]
        if before.get(name) != now.get(name)
    ]
    if lines:
        more = f" and {len(lines) - _MOST_TOLD} more" if len(lines) > _MOST_TOLD else ""
        raise ValueError(
            f"--output_dir: the run in {folder} was begun with other settings: "
            f"{'; '.join(lines[:_MOST_TOLD])}{more}. Give it those again, name a new folder, or "
            "go on with those of now by --allow_changed_settings."
        )


def _shown(value):
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


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
        if path.is_file():
            print(printable(f"The run in {folder} is finished; its result:"), file=sys.stderr)
            return _read(path)
        found = run(folder)
        with whole_file(path) as unfinished:
            unfinished.write_text(json.dumps(found, indent=1) + "\n")
        return found


def _read(path):
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}). Remove it, and it is made anew.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged. Remove it, and it is made anew.")
    return found


def log_before(folder, figures):
    """Writes figures of the weights before the first step, a dict, as epoch 0 of metrics.jsonl."""
    line = {"epoch": _FIRST_EPOCH - 1, "step": 0, **figures}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")


def last_logs(folder):
    """The figures of the last epoch in metrics.jsonl, a dict."""
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
