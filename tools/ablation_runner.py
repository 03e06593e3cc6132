"""Running what is left of the runs, each in a process of its own, until the time is over."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from recipes.run_folder import LOCK
from tools import ablation_finished

_REPOSITORY = Path(__file__).resolve().parents[1]
_LEAST = 60.0  # seconds: for less a longer run is not started
_LOOK = 0.5  # seconds from one look at the clock to the next
# How a run may end here beside "ended" and "failed".
_IS_OVER, _ELSEWHERE = "the time is over", "another program has it"
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
        """Runs that are not done, and pretrainings whose weights those need and are not here."""
        done = ablation_finished.finished_runs(self.folder)
        needed = {run.weights for run in self.runs if run.name not in done} - {None}
        return [
            run
            for run in self.runs
            if run.name not in done or (run in needed and not self._is_here(run))
        ]

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
                    if run not in self.left() or self._cannot_start(run):
                        continue
                    if self._is_over(run):
                        return True
                    outcome = _ELSEWHERE if self._is_elsewhere(run) else self._run(run)
                    if outcome == _ELSEWHERE:
                        elsewhere.append(run)
                        continue
                    after_each()
                    if outcome == _IS_OVER:
                        return True
                waiting = elsewhere
                if waiting:
                    time.sleep(10 * _LOOK)
        return False

    def projected_seconds(self, run):
        """Of what is left of it, by the finished runs; None where nothing is known of its kind.

        By the same run with another seed, or else by the work of those of its recipe.
        """
        done = ablation_finished.finished_runs(self.folder)
        known = [other for other in self.runs if other.name in done and other.recipe == run.recipe]
        alike = [other for other in known if _without_seed(other) == _without_seed(run)]
        known = [other for other in alike or known if done[other.name]["seconds"] > 0]
        if not known:
            return None
        spent = sum(done[other.name]["seconds"] for other in known)
        so_far, has_ended = ablation_finished.times(self.folder).get(run.name, (0.0, True))
        projected = spent / sum(other.work for other in known) * run.work
        return max(projected - (0.0 if has_ended else so_far), 0.0)

    def _is_here(self, run):
        return ablation_finished.has_result(run, self.folder)

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

        if run.weights is not None and not self._is_here(run.weights):
            return True
        try:
            locked(run.folder(self.folder), LOCK).release()
        except CheckpointError:
            return True
        return False

    def _run(self, run):
        """Runs one, and says how it ended: "ended", "failed", or one of the constants."""
        place = f"{self.runs.index(run) + 1} of {len(self.runs)}"
        self.say(f"{place}: {run.name}")
        log = self.folder / "logs" / f"{run.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        started, status = time.monotonic(), _STOPPED[0]  # where this program is told to end
        try:
            with log.open("ab") as lines:
                status = self._wait(self._start(run, lines))
        finally:
            seconds = time.monotonic() - started
            ablation_finished.keep_time(run, self.folder, seconds, status)
        if status == 0:
            ablation_finished.keep(run, self.folder)
            # A run with a result needs no checkpoint, and there will be many runs.
            shutil.rmtree(run.folder(self.folder) / "checkpoints", ignore_errors=True)
            self.say(f"{place}: done in {seconds / 60:.1f} minutes")
            return "ended"
        if status in _STOPPED and self.ends is not None and time.monotonic() >= self.ends:
            self.say(f"{place}: stopped, the time is over; it goes on from where it was saved")
            return _IS_OVER
        if self._is_here(run) or self._is_elsewhere(run):  # begun there while it was starting here
            self.say(f"{place}: another program is at work on it")
            return _ELSEWHERE
        self.failed[run.name] = f"{_last_line(log)} See {log}"
        self.say(f"{place}: {self.failed[run.name]}")
        return "failed"

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
