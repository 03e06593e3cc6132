"""A model in a folder of our own: what it is, and its weights.

config.json          its class and arguments, as in a `.keras` file
model.safetensors    its weights, as `save_weights` writes them
"""

import json
import os

import keras

from keras_convnextv2.weights import safetensors_file
from keras_convnextv2.weights.description import description_of
from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.folders import CONFIG_NAME, SAFETENSORS_NAME
from keras_convnextv2.weights.keras_file import own_arguments
from keras_convnextv2.whole_files import whole_folder

_NAMES = {CONFIG_NAME, SAFETENSORS_NAME}


def save(model, folder, tensors):
    """Writes a model's folder, whole or not at all; one that was written so is replaced.

    Args:
        model: a backbone, a classifier or an FCMAE.
        folder: Path.
        tensors: {name: StoredTensor} of its weights.

    Raises:
        WeightsError: the folder holds something else, or `from_preset` could not open it.
    """
    if folder.exists() and not (folder.is_dir() and set(os.listdir(folder)) <= _NAMES):
        raise WeightsError(f"{folder} holds something other than a model. Name a new folder.")
    config = keras.saving.serialize_keras_object(model)
    own_arguments(config)
    with whole_folder(folder, replace=True) as unfinished:
        write(unfinished, config, tensors, description_of(model))


def write(folder, config, tensors, description):
    """Writes the two files into a folder; of a model without weights of its own one.

    Args:
        folder: Path of one that is there.
        config: the model's, as Keras serializes it.
        tensors: {name: StoredTensor}.
        description: `Description` of the weights.
    """
    (folder / CONFIG_NAME).write_text(json.dumps(config) + "\n")
    if tensors:
        safetensors_file.write(folder / SAFETENSORS_NAME, tensors, description)
