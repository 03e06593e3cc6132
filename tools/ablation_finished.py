"""Which runs of tools.reproduce_ablations are done: finished.jsonl, to go on from elsewhere.

A line a finished run: "run", its name; "seconds" of its processes, all together; "date"; "result",
the numbers of its result.json; "machine", what it was made on, of its run.json. Where a run has
several lines, as a pretraining whose weights were lost, the last one counts.

times.jsonl beside it has a line a process, of runs that are not finished too.
"""

import contextlib
import datetime
import json
import os

_FINISHED = "finished.jsonl"
_TIMES = "times.jsonl"
_VERSIONS = ("keras-convnextv2", "keras", "torch", "jax", "tensorflow")


def has_result(run, folder):
    """Whether a run has ended in this folder, so that what it has made is there."""
    return _read_json(run.folder(folder) / "result.json") is not None


def finished_runs(folder):
    """{name: line} of the runs that are done, a dict each, in this folder or where it was before.

    Raises:
        ValueError: a line of finished.jsonl is none.
    """
    done = _lines_of(folder / _FINISHED)
    for path in sorted((folder / "runs").glob("*/result.json")):
        if path.parent.name not in done:
            line = _line_of(path.parent, folder)
            if line is not None:
                done[line["run"]] = line
    return done


def keep_all(folder):
    """Writes the lines that lack, of runs that ended without: so did those of earlier versions."""
    written = _lines_of(folder / _FINISHED)
    for name, line in finished_runs(folder).items():
        if name not in written:
            _append(folder / _FINISHED, line)


def keep(run, folder):
    """Writes the line of a run that has just ended in this folder."""
    line = _line_of(run.folder(folder), folder)
    if line is not None:
        _append(folder / _FINISHED, line)


def keep_time(run, folder, seconds, status):
    """Writes how long a process of a run took, and how it ended."""
    line = {"run": run.name, "seconds": round(seconds, 3), "status": status}
    _append(folder / _TIMES, line)


def times(folder):
    """{name: (seconds, whether it has ended)} of the runs that were started in this folder.

    Of the processes that made a run, or have begun to: of one that is made again, those from then.
    """
    found = {}
    path = folder / _TIMES
    for text in path.read_text().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError, KeyError, TypeError):  # being written when it ended
            line = json.loads(text)
            before, has_ended = found.get(line["run"], (0.0, False))
            seconds = line["seconds"] + (0.0 if has_ended else before)
            found[line["run"]] = seconds, line["status"] == 0
    return found


def commits(done):
    """Those of the library that the lines of `finished_runs` were made with, a list."""
    found = {(line.get("machine") or {}).get("git") for line in done.values()}
    return sorted(found - {None})


def machines(done):
    """{words: number of runs}: what the lines of `finished_runs` say of machines."""
    counts = {}
    for line in done.values():
        words = ", ".join(_in_words(line.get("machine") or {})) or "unknown"
        counts[words] = counts.get(words, 0) + 1
    return counts


def _in_words(machine):
    for name, value in machine.items():
        if name == "cpu":
            yield str(value)
        elif name == "cores":
            yield f"{value} cores"
        elif name != "git":
            yield f"{name} {value}"


def _line_of(run_folder, folder):
    """The line of a run with a result, a dict; None without."""
    path = run_folder / "result.json"
    result = _read_json(path)
    if result is None:
        return None
    ended = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
    return {
        "run": run_folder.name,
        "seconds": round(times(folder).get(run_folder.name, (0.0, True))[0], 3),
        "date": ended.isoformat(timespec="seconds"),
        "result": {name: value for name, value in result.items() if type(value) in (int, float)},
        "machine": _machine_of(run_folder),
    }


def _machine_of(run_folder):
    record = _read_json(run_folder / "run.json") or {}
    machine, versions = record.get("machine", {}), record.get("versions", {})
    told = {"cpu": machine.get("cpu"), "cores": machine.get("cpus")}
    told |= {name: versions.get(name) for name in _VERSIONS}
    told["git"] = (record.get("git") or {}).get("commit", "")[:7] or None
    return {name: value for name, value in told.items() if value is not None}


def _read_json(path):
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _lines_of(path):
    if not path.exists():
        return {}
    *lines, last = path.read_text().split("\n")
    with contextlib.suppress(ValueError):  # else it is being written
        json.loads(last)
        lines.append(last)
    found = {}
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
            if not isinstance(line["result"], dict):
                raise TypeError("a result is numbers by name")
            found[line["run"]] = {**line, "seconds": float(line["seconds"])}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is damaged: line {number} tells of no run. Mend it, or remove the line: "
                "the run is made again then."
            ) from error
    return found


def _append(path, line):
    """Adds a line in one write, so that several programs may."""
    text = json.dumps(line) + "\n"
    before = path.read_bytes() if path.exists() else b""
    if before and not before.endswith(b"\n"):  # of a program that was ended
        text = f"\n{text}"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)
