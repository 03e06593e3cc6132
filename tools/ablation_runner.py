"""Running what is left of the runs, each in a process of its own, until the time is over."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from recipes.run_folder import LOCK

_REPOSITORY = Path(__file__).resolve().parents[1]
_LEAST = 60.0  # seconds: for less a longer run is not started
_LOOK = 0.5  # seconds from one look at the clock to the next
_TIMES = "times.jsonl"
_STOPPED = (128 + signal.SIGTERM, -signal.SIGTERM)  # saved; before there was anything to save


class Interrupted(KeyboardInterrupt):
    """The tool was told to end, and the run at work has saved."""

    def __init__(self, number):
        super().__init__(number)
        self.number = number

    def __str__(self):
        return (
            f"stopped by {signal.Signals(self.number).name}; what is done is kept. The same "
            "command goes on from there."
        )


class Runner:
    """Runs recipes one after the other, those that have no result yet.

    Args:
        folder: Path of what the tool leaves.
        runs: list of `Run`, in order.
        seconds: float, of the budget, from now on; None: as long as it takes.
        say: function of a line to tell.
    """

    def __init__(self, folder, runs, seconds=None, say=print):
        self.folder, self.runs, self.say = folder, runs, say
        self.ends = None if seconds is None else time.monotonic() + seconds
        self.failed = {}

    def left(self):
        """Runs without a result."""
        return [run for run in self.runs if result_of(run, self.folder) is None]

    def run_all(self, after_each):
        """Runs what is left; `after_each()` is called when a run has ended.

        Returns:
            Whether the time was over before all were run.
        """
        waiting = self.runs
        with _signals_as_errors():
            while waiting:
                elsewhere = []
                for run in waiting:
                    if result_of(run, self.folder) is not None or self._cannot_start(run):
                        continue
                    if self._is_over(run):
                        return True
                    if self._is_elsewhere(run):
                        elsewhere.append(run)
                        continue
                    stopped = self._run(run)
                    after_each()
                    if stopped:
                        return True
                waiting = elsewhere
                if waiting:
                    time.sleep(10 * _LOOK)
        return False

    def projected_seconds(self, run):
        """Of what is left of it, by the finished runs; None where nothing is known of its kind.

        By the same run with another seed, or else by the work of those of its recipe.
        """
        spent = seconds_spent(self.folder)
        done = [other for other in self.runs if result_of(other, self.folder) is not None]
        alike = [other for other in done if _without_seed(other) == _without_seed(run)]
        known = [other for other in alike or done if other.recipe == run.recipe]
        known = [other for other in known if other.name in spent]
        if not known:
            return None
        rate = sum(spent[other.name] for other in known) / sum(other.work for other in known)
        return max(rate * run.work - spent.get(run.name, 0.0), 0.0)

    def _is_over(self, run):
        if self.ends is None:
            return False
        left = self.ends - time.monotonic()
        projected = self.projected_seconds(run)
        return left <= (0 if projected is None else min(projected, _LEAST))

    def _cannot_start(self, run):
        if run.weights is None or run.weights.name not in self.failed:
            return False
        self.failed[run.name] = f"{run.weights.name} has failed"
        return True

    def _is_elsewhere(self, run):
        """Whether another program is at work on it, or on the pretraining that it needs."""
        from keras_convnextv2.runs import CheckpointError
        from keras_convnextv2.runs.lock import locked

        if run.weights is not None and result_of(run.weights, self.folder) is None:
            return True
        try:
            locked(run.folder(self.folder), LOCK).release()
        except CheckpointError:
            return True
        return False

    def _run(self, run):
        """Runs one; whether it was stopped at the end of the time."""
        place = f"{self.runs.index(run) + 1} of {len(self.runs)}"
        self.say(f"{place}: {run.name}")
        log = self.folder / "logs" / f"{run.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with log.open("ab") as lines:
            status = self._wait(self._start(run, lines))
        seconds = time.monotonic() - started
        with (self.folder / _TIMES).open("a") as times:
            line = {"run": run.name, "seconds": round(seconds, 1), "status": status}
            times.write(json.dumps(line) + "\n")
        if status == 0:
            # A run with a result needs no checkpoint, and there will be many runs.
            shutil.rmtree(run.folder(self.folder) / "checkpoints", ignore_errors=True)
            self.say(f"{place}: done in {seconds / 60:.1f} minutes")
            return False
        if status in _STOPPED and self.ends is not None and time.monotonic() >= self.ends:
            self.say(f"{place}: stopped, the time is over; it goes on from where it was saved")
            return True
        self.failed[run.name] = f"{_last_line(log)} See {log}"
        self.say(f"{place}: {self.failed[run.name]}")
        return False

    def _start(self, run, lines):
        paths = [str(_REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.Popen(
            [sys.executable, "-m", f"recipes.{run.recipe}", *run.command(self.folder)],
            stdin=subprocess.DEVNULL,
            stdout=lines,
            stderr=lines,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            # Ctrl-C reaches this program alone, which tells the run to end: a second signal would
            # end it before it has saved.
            start_new_session=True,
        )

    def _wait(self, process):
        """The status of a process, which is told to end when the time is over."""
        try:
            while self.ends is None or time.monotonic() < self.ends:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(_LOOK)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
        process.terminate()
        return process.wait()


def result_of(run, folder):
    """What a finished run has found, a dict; None where it is not finished."""
    try:
        return json.loads((run.folder(folder) / "result.json").read_text())
    except (OSError, ValueError):
        return None


def seconds_spent(folder):
    """{name: seconds of all processes of that run}, of the runs that were started."""
    spent = {}
    path = folder / _TIMES
    for line in path.read_text().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError, KeyError, TypeError):  # being written when it ended
            values = json.loads(line)
            spent[values["run"]] = spent.get(values["run"], 0.0) + values["seconds"]
    return spent


def _without_seed(run):
    return run.name.rpartition("-seed-")[0]


def _last_line(log):
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1] if lines else "it said nothing."


@contextlib.contextmanager
def _signals_as_errors():
    """Within it SIGTERM and SIGINT raise `Interrupted`, where signals can be seen to."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number, frame):
        raise Interrupted(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
