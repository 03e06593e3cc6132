"""Keras's own `.keras` file: the model as it is, for any backend.

As a program, `python -m keras_convnextv2.export.keras_archive FILE FOLDER THREADS REPETITIONS`, it
is the process in which such a file is tried, as `runtimes` is for artefacts that need no Keras.
"""

import json
import sys
from pathlib import Path

from keras_convnextv2.export import runtimes
from keras_convnextv2.weights.building import from_preset


def write(model, path):
    """Writes a `.keras` file."""
    model.save(path)


def open_archive(path):
    """A `.keras` file as an `Artefact`, read without running what its configuration may name.

    Raises:
        WeightsError: not a file of this library's models.
    """
    model = from_preset(path)
    metadata = {"input": {"shape": [None, *model.input_shape[1:]], "dtype": "float32"}}
    return runtimes.Artefact("keras", metadata, lambda images: model.predict(images, verbose=0))


if __name__ == "__main__":
    path, folder, _, repetitions = sys.argv[1:]
    print(json.dumps(runtimes.measure(open_archive(path), Path(folder), int(repetitions))))
