"""Keras callbacks that the library and its recipes train with."""

import json
import math
import numbers
import os
import time
from pathlib import Path

import keras


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Ends training with an error when the loss is NaN or infinite.

    It raises instead of setting `stop_training`, so that no later callback of the run overwrites
    a saved model with broken weights. Put it first among the callbacks.

    A loss that comes as a number is looked at at once. Keras's own list of callbacks gives
    numbers; a `LazyCallbackList` may give tensors, and to look at one is to wait for the device.
    That is done at every `every`-th batch, and when an epoch ends. None is missed: the logs of
    Keras's and of this library's models hold the mean of the epoch so far, and what is not finite
    stays so. For a model whose `train_step` returns the loss of one batch, `every` is 1.

    Args:
        every: int, batches from one look at a tensor to the next.

    Raises:
        FloatingPointError: with the step, the learning rate and what to try. It has `epoch` and
            `batches`, a range of those that were not looked at before.
    """

    takes_tensors = True

    def __init__(self, every=50):
        super().__init__()
        if not isinstance(every, int) or every < 1:
            raise ValueError(f"`every` must be a positive int, of batches. Received: {every!r}")
        self.every = every
        self._num_unseen = 0
        self._epoch = self._last_batch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        self._num_unseen += 1
        self._last_batch = batch
        if isinstance(loss, numbers.Number) or self._num_unseen >= self.every:
            self._look(loss)

    def on_epoch_end(self, epoch, logs=None):
        self._look((logs or {}).get("loss", 0.0))

    def _look(self, loss):
        loss, num_unseen = float(loss), self._num_unseen
        self._num_unseen = 0
        if math.isfinite(loss):
            return
        optimizer = self.model.optimizer
        step = int(keras.ops.convert_to_numpy(optimizer.iterations))
        since = f"It was not looked at in the {num_unseen - 1} steps before. "
        error = FloatingPointError(
            f"The loss is {loss} at step {step}, with learning rate "
            f"{_learning_rate(optimizer):.3g}. {since if num_unseen > 1 else ''}"
            "The run is stopped; what it saved before is intact. "
            "Try a lower learning rate, more warm-up steps, float32 or bfloat16 instead of "
            "float16, or look for NaN in the images."
        )
        error.epoch = self._epoch
        end = self._last_batch + 1
        error.batches = range(max(end - max(num_unseen, 1), 0), end)
        raise error


class WriteMetrics(keras.callbacks.Callback):
    """Appends one JSON object a line to a file after each epoch.

    Each holds "epoch" (from 1), "step", "learning_rate", "seconds" and "images_per_second" of the
    epoch, and the logs. Of an epoch that went on after a stop the time is that since then.

    Args:
        path: the file.
        images_per_epoch: int.
        first_step: int, updates of the run before this `fit` by another optimizer, whose count
            they are added to.
    """

    takes_tensors = True

    def __init__(self, path, images_per_epoch, first_step=0):
        super().__init__()
        self.path = Path(path)
        self.images_per_epoch = images_per_epoch
        self.first_step = first_step
        self._goes_on_after = None
        self._before_part = None

    def get_state(self):
        """How many bytes are written, but for the line of an epoch that is not at its end."""
        if self._before_part is not None:
            return self._before_part
        return self.path.stat().st_size if self.path.exists() else 0

    def set_state(self, state):
        """Goes on after so many bytes: what a training wrote that it is to do again goes.

        Raises:
            ValueError: it is no number of bytes.
        """
        if type(state) is not int or state < 0:
            raise ValueError(
                f"bytes of {self.path.name} were expected. Received: {str(state)[:60]}"
            )
        self._goes_on_after = state

    def on_train_begin(self, logs=None):
        # Not before: the training may be refused for another reason.
        size, self._goes_on_after = self._goes_on_after, None
        if size is not None and self.path.exists() and self.path.stat().st_size > size:
            os.truncate(self.path, size)

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic()
        self._num_left_out = None  # batches that were done before
        self._num_batches, self._before_part = 0, None

    def on_train_batch_begin(self, batch, logs=None):
        if self._num_left_out is None:
            self._num_left_out = batch
        self._num_batches = batch + 1

    def on_epoch_end(self, epoch, logs=None):
        seconds = max(time.monotonic() - self.started, 1e-6)  # a coarse clock may stand still
        num_batches = (self.params or {}).get("steps") or 1
        images = self.images_per_epoch * (1 - (self._num_left_out or 0) / num_batches)
        optimizer = self.model.optimizer
        line = {
            "epoch": epoch + 1,
            "step": self.first_step + int(keras.ops.convert_to_numpy(optimizer.iterations)),
            "learning_rate": _learning_rate(optimizer),
            "seconds": round(seconds, 3),
            "images_per_second": round(images / seconds, 2),
            **{name: float(value) for name, value in (logs or {}).items()},
        }
        if self.model.stop_training and self._num_batches < num_batches:
            self._before_part = self.get_state()
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())  # before a checkpoint says that it is there


def _learning_rate(optimizer):
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
