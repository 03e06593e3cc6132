"""What the callbacks share that measure a model after epochs."""

import keras


class Watching(keras.callbacks.Callback):
    """Adds figures to the logs of epochs: those of `measure()`, {name: float}, of a subclass.

    It keeps nothing from one epoch to the next: a training that goes on needs no state of it.

    Args:
        every: int, epochs from one measurement to the next. The last epoch is always measured.

    Attributes:
        before: dict of figures before the first step.

    Raises:
        ValueError: `every` is no positive int.
    """

    def __init__(self, every=1):
        super().__init__()
        if not isinstance(every, int) or every < 1:
            raise ValueError(f"`every` must be a positive int, of epochs. Received: {every!r}")
        self.every = every
        self.before = None

    def on_train_begin(self, logs=None):
        if self.before is None:
            self.before = self.measure()

    def on_epoch_end(self, epoch, logs=None):
        is_last = epoch + 1 == (self.params or {}).get("epochs")
        if logs is not None and (is_last or (epoch + 1) % self.every == 0):
            logs.update(self.measure())
