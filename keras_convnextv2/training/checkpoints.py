"""Saving a model so that a crash while writing leaves the one before."""

from pathlib import Path

import keras

from keras_convnextv2.whole_files import whole_file


def save_model(model, path):
    """Saves `model` as `.keras`; `path` is as before until all of it is on the disk."""
    with whole_file(path) as unfinished:
        model.save(unfinished)


class SaveEachEpoch(keras.callbacks.Callback):
    """Saves the model in training, with its optimizer, after each epoch.

    Args:
        path: a `.keras` file, replaced each time.
    """

    def __init__(self, path):
        super().__init__()
        self.path = Path(path)

    def on_epoch_end(self, epoch, logs=None):
        save_model(self.model, self.path)
