"""What the files of a model's folder are called."""

import json
from pathlib import Path

from keras_convnextv2.weights.checkpoint import MAX_LISTING_BYTES
from keras_convnextv2.weights.errors import WeightsError

CONFIG_NAME = "config.json"
SAFETENSORS_NAME = "model.safetensors"
INDEX_NAME = f"{SAFETENSORS_NAME}.index.json"  # of a model in parts
# The weights are in the first of these that is there.
WEIGHTS_NAMES = (SAFETENSORS_NAME, INDEX_NAME, "pytorch_model.bin", "model.keras")
MODEL_FOLDER = "model"  # of a run of the recipes, within its folder


def folder_of_weights(folder):
    """The folder itself, or that of the model in a run's folder."""
    own = any((folder / name).is_file() for name in WEIGHTS_NAMES)
    return folder if own or not (folder / MODEL_FOLDER).is_dir() else folder / MODEL_FOLDER


def part_names(index):
    """The files of a model that is saved in parts, by the path of its index."""
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    names = list(places.values()) if isinstance(places, dict) else []
    if not names or not all(map(_is_part, names)):
        raise WeightsError(f"{index} does not list safetensors files beside itself.")
    return sorted(set(names))


def _is_part(name):
    return isinstance(name, str) and name.endswith(".safetensors") and Path(name).name == name


def read_json(path):
    """The content of a JSON file.

    Raises:
        WeightsError: it is not JSON, or larger than such files are.
    """
    if path.stat().st_size > MAX_LISTING_BYTES:
        raise WeightsError(f"{path} has {path.stat().st_size} bytes, more than a config has.")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not JSON: {error}") from error
