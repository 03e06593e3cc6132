"""Key and shape of every tensor in the reference libraries' own checkpoints.

tests/weights/layouts holds what timm 1.0.31 (nine sizes), the official code (eight, fine-tuned)
and transformers 5.23 (atto and tiny) said of their state dicts on 2026-11-23. mmpretrain's and
MinkowskiEngine's follow from the official ones by renaming; mmpretrain's names are those of its
source, where GRN has one axis.
"""

import json
import math
import re
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[1] / "weights" / "layouts"
ATTO_WIDTHS = (40, 80, 160, 320)


def layout(library, size):
    """{key: shape} of a library's model of a size's name, 1000 classes."""
    if library == "mmpretrain":
        return dict(_mmpretrain(*item) for item in layout("official", size).items())
    shapes = json.loads((FOLDER / f"{library}.json").read_text())[size]
    return {key: tuple(shape) for key, shape in shapes.items()}


def custom_layout(library, depths, widths):
    """{key: shape} of a size that has no name: atto's keys, with other blocks and channels.

    `depths` are at most those of atto. timm computes such a size's linear layers on matrices.
    """
    shapes = {}
    for key, shape in layout(library, "atto").items():
        stage, block = _place(key)
        if block >= depths[stage]:
            continue
        sizes = {factor * ATTO_WIDTHS[stage]: factor * widths[stage] for factor in (1, 4)}
        if stage:
            sizes[ATTO_WIDTHS[stage - 1]] = widths[stage - 1]
        shape = tuple(sizes.get(side, side) for side in shape)
        if library == "timm" and re.search(r"mlp\.fc\d\.weight", key):
            shape = shape[:2]
        shapes[key] = shape
    return shapes


def _place(key):
    """(stage, block or -1) of a key of any library."""
    if match := re.search(r"stages\.(\d)\.(?:blocks\.|layers\.)?(\d+)\.", key):
        return int(match[1]), int(match[2])
    if match := re.search(r"(?:downsample_layers|stages)\.(\d)\.", key):
        return int(match[1]), -1
    return (0 if re.search("stem|embeddings", key) else 3), -1


def random_checkpoint(shapes, rng, dtype="float32"):
    """{key: array} of these shapes, at scales that keep activations near 1."""
    return {key: _random(key, shape, rng).astype(dtype) for key, shape in shapes.items()}


def _random(key, shape, rng):
    noise = rng.normal(size=shape)
    if key.endswith("weight") and len(shape) > 1 and "grn" not in key:
        return noise / math.sqrt(math.prod(shape[1:]))
    is_norm = key.endswith("weight") and "grn" not in key
    return 1 + 0.2 * noise if is_norm else 0.3 * noise


def _mmpretrain(key, shape):
    if key.startswith("head."):
        return key.replace("head.", "head.fc."), shape
    for theirs, name in (
        ("dwconv", "depthwise_conv"),
        ("pwconv", "pointwise_conv"),
    ):
        key = key.replace(theirs, name)
    key = re.sub(r"^norm\.", "norm3.", key)
    return f"backbone.{key}", shape[-1:] if "grn" in key else shape


def numpy_equal(first, second):
    """Whether two dicts hold the same keys, shapes and bits."""
    return first.keys() == second.keys() and all(
        first[key].dtype == second[key].dtype
        and first[key].shape == second[key].shape
        and np.array_equal(first[key].view("uint8"), second[key].view("uint8"))
        for key in first
    )
