"""A callback that saves, as many do."""

from pathlib import Path

import keras

from keras_convnextv2.whole_files import whole_file


class SaveEachEpoch(keras.callbacks.Callback):
    """Saves the model in training, with its optimizer, after each epoch.

    Args:
        path: a `.keras` file, replaced each time.
    """

    def __init__(self, path):
        super().__init__()
        self.path = Path(path)

    def on_epoch_end(self, epoch, logs=None):
        with whole_file(self.path) as unfinished:
            self.model.save(unfinished)
