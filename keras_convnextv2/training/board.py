"""What TensorBoard shows of a run, written without TensorFlow."""

import time

import keras
import numpy as np

from keras_convnextv2.training.event_file import EventFile

_MEANS_OF_EPOCH = ("loss", "gradient_norm")  # of which the mean since the last time is told


class WriteBoard(keras.callbacks.Callback):
    """Writes TensorBoard's event files by tensorboardX: scalars, and pictures.

    Every `every` steps of the run: "step/loss" and "step/gradient_norm" (where the model reports
    them; means since the last time, not of the epoch so far as Keras has them),
    "step/learning_rate" and "step/images_per_second", without the time between epochs. When an
    epoch ends: "epoch/..." of all its logs. Look at them with `tensorboard --logdir=FOLDER`, which
    need not be installed where the run is.

    Args:
        folder: where the event files go; made where it is missing.
        batch_size: int, images a step.
        every: int, steps.
        pictures: optional function without arguments that gives {name: uint8 (N, H, W, 3)}, of
            images side by side, such as reconstructions of the same images each time.
        pictures_every: int, epochs; the last epoch has pictures in any case.
        first_step: int, updates of the run before this `fit` by another optimizer, whose count
            they are added to.

    Raises:
        ModuleNotFoundError: when training begins, tensorboardX is not installed; names the extra.
        OSError: in training, its file cannot be written.

    Examples:
        >>> from pathlib import Path
        >>> import keras, numpy as np
        >>> from keras_convnextv2.training.board import WriteBoard
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> model.compile(loss="mse")
        >>> board = WriteBoard("board", batch_size=4, every=1)
        >>> images, targets = np.ones((8, 3)), np.ones((8, 2))
        >>> _ = model.fit(images, targets, batch_size=4, verbose=0, callbacks=[board])
        >>> [path.name[:19] for path in Path("board").iterdir()]
        ['events.out.tfevents']
    """

    takes_tensors = True

    def __init__(self, folder, batch_size, every=50, pictures=None, pictures_every=1, first_step=0):
        super().__init__()
        for name, value in (("every", every), ("pictures_every", pictures_every)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"`{name}` must be a positive int. Received: {value!r}")
        self.folder = folder
        self.batch_size = batch_size
        self.every = every
        self.pictures = pictures
        self.pictures_every = pictures_every
        self.first_step = first_step
        self.writer = None

    def on_train_begin(self, logs=None):
        try:
            if self.writer is None:
                self.writer = EventFile(self.folder)
        except ImportError as error:
            raise ModuleNotFoundError(
                "TensorBoard's files are written by tensorboardX, which is not installed: "
                "pip install 'keras-convnextv2[recipes]'",
                name="tensorboardX",
            ) from error
        # All but the first since the last time.
        self._num_steps, self._num_summed, self._sums, self._seconds = 0, 0, {}, 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self._num_in_epoch, self._num_before, self._sums_before = 0, 0, {}
        self._looked_at = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self._num_steps += 1
        if self._num_in_epoch == 0 and batch > 0:
            # The epoch goes on, and its means are of batches that were told before.
            self._num_before, self._sums_before = batch + 1, _sums(logs, batch + 1)
        self._num_in_epoch = batch + 1
        is_told = self._num_steps % self.every == 0
        if is_told or self._num_in_epoch == (self.params or {}).get("steps"):
            self._look(logs)  # at the last of an epoch before its evaluation takes time
        if not is_told:
            return
        step = self._step()
        for name, total in self._sums.items() if self._num_summed else ():
            self.writer.add_scalar(f"step/{name}", total / self._num_summed, step)
        self.writer.add_scalar("step/learning_rate", self._learning_rate(), step)
        rate = self.every * self.batch_size / max(self._seconds, 1e-9)
        self.writer.add_scalar("step/images_per_second", rate, step)
        self._num_summed, self._sums, self._seconds = 0, {}, 0.0

    def on_epoch_end(self, epoch, logs=None):
        if self._num_before < self._num_in_epoch:  # where Keras does not know how many come
            self._look(logs)
        for name, value in (logs or {}).items():
            self.writer.add_scalar(f"epoch/{name}", float(value), epoch + 1)
        self.writer.add_scalar("epoch/learning_rate", self._learning_rate(), epoch + 1)
        is_last = epoch + 1 == (self.params or {}).get("epochs")
        if self.pictures is not None and (is_last or (epoch + 1) % self.pictures_every == 0):
            for name, images in self.pictures().items():
                row = np.concatenate(list(images), axis=1)  # (H, N * W, 3)
                self.writer.add_image(name, row, epoch + 1)
        self.writer.flush()

    def on_train_end(self, logs=None):
        self.close()

    def close(self):
        """Ends the event file; safe to call again, and after a run that failed."""
        writer, self.writer = self.writer, None
        if writer is not None:
            writer.close()

    def _look(self, logs):
        """Adds what came since the last look, of the same epoch, to what will be told."""
        sums = _sums(logs, self._num_in_epoch)  # waits for the device: the time comes after it
        now = time.monotonic()
        for name, total in sums.items():
            since = total - self._sums_before.get(name, 0.0)
            self._sums[name] = self._sums.get(name, 0.0) + since
        self._seconds += now - self._looked_at
        self._num_summed += self._num_in_epoch - self._num_before
        self._num_before, self._sums_before, self._looked_at = self._num_in_epoch, sums, now

    def _step(self):
        return self.first_step + int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))

    def _learning_rate(self):
        return float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))


def _sums(logs, num_batches):
    """{name: sum} over the batches of an epoch so far, whose means the logs are."""
    found = (name for name in _MEANS_OF_EPOCH if name in (logs or {}))
    return {name: num_batches * float(logs[name]) for name in found}
