"""Saving a model so that a crash while writing leaves the one before."""

import os
from pathlib import Path

import keras


def save_model(model, path):
    """Saves `model` as `.keras` under another name beside `path`, then renames it to `path`."""
    path = Path(path)
    unfinished = path.with_name(f"{path.stem}.unfinished.keras")
    model.save(unfinished)
    os.replace(unfinished, path)


class SaveEachEpoch(keras.callbacks.Callback):
    """Saves the model in training, with its optimizer, after each epoch.

    Args:
        path: a `.keras` file, replaced each time.
    """

    def __init__(self, path):
        super().__init__()
        self.path = Path(path)

    def on_epoch_end(self, epoch, logs=None):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        save_model(self.model, self.path)
