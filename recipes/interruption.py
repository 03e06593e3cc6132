"""SIGINT and SIGTERM in a training: it ends between two steps, and what it has is saved."""

import contextlib
import signal
import sys
import threading

import keras

from . import processes

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STEPS_TO_ASK = 8  # from one question to the other processes to the next: it waits for devices


class Stopped(KeyboardInterrupt):
    """A training that was told to end, and saved before.

    Args:
        number: of the signal.
        folder: of its checkpoints.
    """

    def __init__(self, number, folder):
        super().__init__(number)
        self.number = number
        self.folder = folder

    def __str__(self):
        return (
            f"stopped by {signal.Signals(self.number).name}; all of it is saved in {self.folder}. "
            "The same command goes on from there."
        )


class StopOnSignal(keras.callbacks.Callback):
    """After a signal raises `Stopped` when the step is done and saved; after another at once.

    Keras (3.15) passes over what a handler raises while it reads the logs of a step, so this one
    raises nothing but remembers. Put it behind `checkpoints`.

    Args:
        checkpoints: `runs.Checkpoints`, of the same training.
    """

    takes_tensors = True

    def __init__(self, checkpoints):
        super().__init__()
        self.checkpoints = checkpoints
        self.number = None
        self._num_asked = 0

    @contextlib.contextmanager
    def listening(self):
        """Within it the signals are seen to; where signals cannot be, nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}

        def note(number, frame):
            if self.number is not None:
                raise KeyboardInterrupt
            self.number = number
            print("Stopping when this step is saved; once more: at once.", file=sys.stderr)

        for number in _SIGNALS:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)

    def on_train_batch_end(self, batch, logs=None):
        if self._is_told() and self.checkpoints.save(logs):
            raise Stopped(self.number or signal.SIGTERM, self.checkpoints.folder)

    def _is_told(self):
        """Whether any process was, which all stop for behind the same step."""
        if processes.shard()[1] == 1:
            return self.number is not None
        self._num_asked += 1
        return self._num_asked % _STEPS_TO_ASK == 0 and processes.of_any(self.number is not None)

    def on_epoch_end(self, epoch, logs=None):
        self.on_train_batch_end(None, logs)
