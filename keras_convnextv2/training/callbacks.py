"""Keras callbacks that the library and its recipes train with."""

import json
import math
import time
from pathlib import Path

import keras


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Ends training with an error at the first loss that is NaN or infinite.

    It raises instead of setting `stop_training`, so that no later callback of the run overwrites
    a saved model with broken weights. Put it first among the callbacks.

    Raises:
        FloatingPointError: with the step, the learning rate and what to try.
    """

    def on_train_batch_end(self, batch, logs=None):
        loss = float((logs or {}).get("loss", 0.0))
        if math.isfinite(loss):
            return
        optimizer = self.model.optimizer
        step = int(keras.ops.convert_to_numpy(optimizer.iterations))
        raise FloatingPointError(
            f"The loss is {loss} at step {step}, with learning rate "
            f"{_learning_rate(optimizer):.3g}. The run is stopped; what it saved before is intact. "
            "Try a lower learning rate, more warm-up steps, float32 or bfloat16 instead of "
            "float16, or look for NaN in the images."
        )


class WriteMetrics(keras.callbacks.Callback):
    """Appends one JSON object a line to a file after each epoch.

    Each holds "epoch" (from 1), "step", "learning_rate", "seconds" and "images_per_second" of the
    epoch, and the logs.

    Args:
        path: the file.
        images_per_epoch: int.
    """

    def __init__(self, path, images_per_epoch):
        super().__init__()
        self.path = Path(path)
        self.images_per_epoch = images_per_epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.monotonic() - self.started
        optimizer = self.model.optimizer
        line = {
            "epoch": epoch + 1,
            "step": int(keras.ops.convert_to_numpy(optimizer.iterations)),
            "learning_rate": _learning_rate(optimizer),
            "seconds": round(seconds, 3),
            "images_per_second": round(self.images_per_epoch / seconds, 2),
            **{name: float(value) for name, value in (logs or {}).items()},
        }
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _learning_rate(optimizer):
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
