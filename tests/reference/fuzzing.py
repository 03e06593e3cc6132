"""Damages files and uses them, under a limit of memory and of time: what comes of it, counted."""

import dataclasses
import faulthandler
import json
import os
import random
import resource
import shutil
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

MEMORY = 1 << 30  # bytes more than the process has
MAX_SECONDS = 10  # for one file; each takes some milliseconds
MAX_FAILURES = 5


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is damaged, and what reads it.

    Args:
        make: function of a new folder that writes whole files there, and returns a list of the
            paths of those that are to be damaged.
        mutate: function of (content, `random.Random`, path) that returns other content.
        use: function of a path that has been damaged; reads all that a program would.
        errors: type, or tuple of types, that `use` may raise.
        warns: bool, whether warnings are no failure.
        memory: int, bytes that it may take, those of threads' stacks among them.
    """

    make: Callable
    mutate: Callable
    use: Callable
    errors: type | tuple
    warns: bool = False
    memory: int = MEMORY


def outcome(subject, path):
    """ "taken", "refused", or what should not have happened."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        faulthandler.dump_traceback_later(MAX_SECONDS, exit=True)
        try:
            subject.use(path)
            result = "taken"
        except subject.errors as error:
            result = traceback.format_exc() if _wanted_memory(error) else "refused"
        except BaseException:
            result = traceback.format_exc()
        faulthandler.cancel_dump_traceback_later()
    return f"warned: {warned[0].message}" if warned and not subject.warns else result


def _wanted_memory(error):
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__
    return False


def limit_memory(more=MEMORY):
    """Lets the process take so many bytes more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, most))


def fuzz(kind, subject, folder, seed, num_files):
    """Uses so many damaged files, one at a time, beside whole ones.

    Args:
        kind: str, a name.
        subject: `Subject`.
        folder: Path; after a crash the file that did it is in the folder `kind` there.
        seed: str or int.
        num_files: int.

    Returns:
        ([taken, refused, seconds], list of failures); the files that failed are kept.
    """
    rng = random.Random(f"{kind} {seed}")
    (folder / kind).mkdir(parents=True)
    whole = {path: path.read_bytes() for path in subject.make(folder / kind)}
    outcomes = {path.name: outcome(subject, path) for path in whole}
    if "taken" not in outcomes.values():  # then what is refused would say nothing
        return [0, 0, 0.0], [f"{kind}: no file that is whole is taken: {outcomes}"]
    counts, failures, started = {"taken": 0, "refused": 0}, [], time.perf_counter()
    for index in range(num_files):
        path = rng.choice(list(whole))
        path.write_bytes(subject.mutate(whole[path], rng, path))
        damaged = path.read_bytes()
        result = outcome(subject, path)
        path.write_bytes(whole[path])
        if result in counts:
            counts[result] += 1
            continue
        kept = folder / f"{kind}-{index}{path.suffix}"
        kept.write_bytes(damaged)
        failures.append(f"{kept.name}: {result}")
        if len(failures) == MAX_FAILURES:
            break
    shutil.rmtree(folder / kind)
    return [*counts.values(), round(time.perf_counter() - started, 1)], failures


def fuzz_all(subjects, folder, seed, is_silent):
    """Fuzzes each kind, and prints {"counts": {kind: [...]}, "failures": [...]} as JSON.

    Args:
        subjects: {kind: (`Subject`, number of files)}.
        folder: as of `fuzz`.
        seed: as of `fuzz`.
        is_silent: bool, whether what a library writes to standard error is a failure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    said = folder / f"stderr-{os.getpid()}.txt"
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    counts, failures = {}, []
    for kind, (subject, num_files) in subjects.items():
        limit_memory(subject.memory)
        counts[kind], failed = fuzz(kind, subject, folder, seed, num_files)
        failures += failed
    if is_silent and said.stat().st_size:
        failures.append(f"said: {said.read_text(errors='replace')[-2000:]}")
    print(json.dumps({"counts": counts, "failures": failures}))
