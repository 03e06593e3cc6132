"""Which processes of torch have fallen silent, whatever they were at."""

import contextlib
import datetime
import threading
import time

from keras_convnextv2.training.distribution.errors import LostProcessError

_EVERY = 5  # seconds between two signs of a process
_SILENCE = 45  # seconds without a sign, after which a process counts as lost


class Heartbeats:
    """Gives a sign of this process every few seconds, and hears those of the others.

    `torch.distributed` knows of connections alone. A machine that stands still closes none, so the
    others would wait for as long as a process may also take to write or to compile.

    Args:
        store: `torch.distributed.Store` of all processes. It is used by a thread of its own.
        index: int, this process.
        count: int, all processes.
        every: float, seconds between two signs.
        silence: float, seconds after which a process without one counts as lost.
    """

    def __init__(self, store, index, count, every=_EVERY, silence=_SILENCE):
        self._store, self._index, self._count = store, index, count
        self._every, self._silence = every, silence
        self._signs = dict.fromkeys(set(range(count)) - {index}, 0)
        self._heard = dict.fromkeys(self._signs, time.monotonic())
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeats", daemon=True)
        self._thread.start()

    def _run(self):
        # Without the store nothing is heard any more: all are silent.
        with contextlib.suppress(RuntimeError):
            while True:
                self._store.add(f"heartbeats/{self._index}", 1)
                for other, before in self._signs.items():
                    signs = self._store.add(f"heartbeats/{other}", 0)  # which reads without waiting
                    if signs != before:
                        self._signs[other], self._heard[other] = signs, time.monotonic()
                if self._end.wait(self._every):
                    return

    def silent(self):
        """The indices of the processes that have given no sign for too long, a list."""
        now = time.monotonic()
        return [other for other, heard in self._heard.items() if now - heard > self._silence]

    def wait_for(self, work):
        """Waits until a collective operation has ended.

        Args:
            work: `torch.distributed.Work` of a backend whose `wait` waits, as gloo's.

        Raises:
            LostProcessError: another process has fallen silent.
            RuntimeError: of the backend, the operation failed.
        """
        while not work.is_completed():
            with contextlib.suppress(RuntimeError):  # it goes on; or failed, which is raised below
                work.wait(datetime.timedelta(seconds=self._every))
            silent = self.silent()
            if silent and not work.is_completed():
                raise LostProcessError.silent(silent, self._silence)
        work.wait()

    def stop(self):
        """Ends the thread."""
        self._end.set()
        self._thread.join(self._every)  # it may stand in a store that does not answer
