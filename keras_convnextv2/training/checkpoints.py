"""Saving a model so that a crash while writing leaves the one before."""

from keras_convnextv2.whole_files import whole_file


def save_model(model, path):
    """Saves `model` as `.keras`; `path` is as before until all of it is on the disk."""
    with whole_file(path) as unfinished:
        model.save(unfinished)
