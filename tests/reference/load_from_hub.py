"""Loads models from a hub, in a process of its own: the hub's client reads its settings once.

For each line {"source": ..., "cache": ..., "environment": {...}} on standard input it writes a line
{"class_names": ..., "image_shape": ..., "sums": [...]} or {"error": type, "message": ...}.
The client's pauses before it tries again are left out.

    HF_ENDPOINT=... HF_HOME=... python -m tests.reference.load_from_hub
"""

import json
import os
import sys
import time
from unittest import mock

from huggingface_hub import constants

import keras_convnextv2 as kc
from tests.reference.random_weights import named_weights


def main():
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)


def answer(source, cache, environment):
    with (
        mock.patch.dict(os.environ, environment),
        mock.patch.object(constants, "HF_HUB_CACHE", cache),
        mock.patch.object(time, "sleep"),
    ):
        try:
            model = kc.from_preset(source)
        except Exception as error:
            return {"error": type(error).__name__, "message": str(error)}
    return {
        "class_names": model.class_names,
        "image_size": model.backbone.training_image_size,
        "sums": sums(named_weights(model)),
    }


def sums(weights):
    """Of each array, the same in any layout of its axes; sorted."""
    return sorted(round(float(value.sum(dtype="float64")), 6) for value in weights.values())


if __name__ == "__main__":
    main()
