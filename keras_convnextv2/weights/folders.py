"""What the files of a model's folder are called."""

import json
from pathlib import Path

from keras_convnextv2.weights.errors import WeightsError

CONFIG_NAME = "config.json"
CLASS_NAMES_NAME = "class_names.json"  # of a run of recipes.finetune
SAFETENSORS_NAME = "model.safetensors"
INDEX_NAME = f"{SAFETENSORS_NAME}.index.json"  # of a model in parts
# The weights are in the first of these that is there.
WEIGHTS_NAMES = (SAFETENSORS_NAME, INDEX_NAME, "pytorch_model.bin", "model.keras")
_MAX_JSON_BYTES = 2**24


def part_names(index):
    """The files of a model that is saved in parts, by the path of its index."""
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    names = set(places.values()) if isinstance(places, dict) else set()
    if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise WeightsError(f"{index} does not list files beside itself.")
    return sorted(names)


def read_json(path):
    """The content of a JSON file.

    Raises:
        WeightsError: it is not JSON, or larger than such files are.
    """
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise WeightsError(f"{path} has {path.stat().st_size} bytes, more than a config has.")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not JSON: {error}") from error
