"""Ctrl-C in a training, which Keras would now and then pass over."""

import contextlib
import signal
import threading

import keras


class StopOnInterrupt(keras.callbacks.Callback):
    """Raises a KeyboardInterrupt that was raised where nobody let it through.

    Keras (3.15) reads the logs of a step within `try: ... except: pass`, where a training on JAX
    waits for its device most of the time: a Ctrl-C that comes then is lost. This remembers that it
    came, and raises it again at the next batch.
    """

    takes_tensors = True

    def __init__(self):
        super().__init__()
        self.came = False

    @contextlib.contextmanager
    def listening(self):
        """Within it the signal is noted, too; where signals cannot be, nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def note(number, frame):
            self.came = True
            if callable(before):
                before(number, frame)  # raises, as Python's own does

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def on_train_batch_begin(self, batch, logs=None):
        self._raise()

    def on_train_batch_end(self, batch, logs=None):
        self._raise()

    def on_epoch_end(self, epoch, logs=None):
        self._raise()

    def _raise(self):
        if self.came:
            raise KeyboardInterrupt
