"""Small valid files of each kind, to be damaged."""

import argparse
import json
import zipfile

import h5py
import numpy as np
import safetensors.numpy
import torch

import keras_convnextv2 as kc
from tests.reference.layouts import custom_layout, random_checkpoint
from tests.reference.minkowski_fcmae import make_checkpoint
from tests.reference.random_weights import randomize

NUM_PARTS = 6
DEPTHS, WIDTHS = (1, 1, 1, 1), (2, 3, 4, 5)
KINDS = ("safetensors", "pytorch", "pytorch_legacy", "keras", "hdf5")
LIBRARIES = ("official", "timm", "transformers", "mmpretrain")


def small_checkpoint(library, rng):
    """{key: array} of a whole classifier in a library's format, or of an FCMAE ("minkowski")."""
    if library == "minkowski":
        return make_checkpoint(rng, DEPTHS, WIDTHS, 2, stem_stride=1)
    shapes = custom_layout(library, DEPTHS, WIDTHS)
    classes = {1000: 3}  # a head of three classes
    shapes = {
        key: tuple(classes.get(side, side) for side in shape) for key, shape in shapes.items()
    }
    return random_checkpoint(shapes, rng)


def small_classifier(rng):
    backbone = kc.ConvNeXtV2Backbone(kc.Variant(DEPTHS, WIDTHS), (8, 16, 3), stem_stride=1)
    classifier = kc.ConvNeXtV2Classifier(backbone, 3, class_names=("a", "b", "c"))
    randomize(classifier, rng)
    return classifier


def write_small_files(folder):
    """Writes folder/KIND/NAME for each kind of file: whole models, and parts that read faster."""
    rng = np.random.default_rng(0)
    for kind in KINDS:
        (folder / kind).mkdir(parents=True)
    for library in (*LIBRARIES, "minkowski"):
        safetensors.numpy.save_file(
            small_checkpoint(library, rng),
            folder / "safetensors" / f"{library}.safetensors",
            {"class_names": json.dumps(["a", "b", "c"]), "image_size": "[8, 16]"},
        )
    checkpoint = small_checkpoint("official", rng)
    _write_pytorch(folder, "whole", map(torch.from_numpy, checkpoint.values()), checkpoint)
    for index in range(NUM_PARTS):
        _write_pytorch(folder, f"part{index}", _views(rng), list(checkpoint)[index::9])
    classifier = small_classifier(rng)
    kc.save_weights(classifier, folder / "safetensors" / "keras.safetensors", format="keras")
    classifier.backbone.save_weights(folder / "hdf5" / "whole.weights.h5")
    classifier.save(folder / "keras" / "whole.keras")
    for index in range(NUM_PARTS):
        part = folder / "hdf5" / f"part{index}.weights.h5"
        _write_part(folder / "hdf5" / "whole.weights.h5", part, index)
        _write_keras_part(folder / "keras" / "whole.keras", part, index)


def _write_pytorch(folder, name, tensors, keys):
    root = {
        "model": dict(zip(keys, tensors, strict=False)),
        "epoch": 7,
        "args": argparse.Namespace(input_size=32, tags=("a", {1.5})),
        "meta": {"dataset_meta": {"classes": ["a", "b", "c"]}},
    }
    torch.save(root, folder / "pytorch" / f"{name}.pt")
    legacy = folder / "pytorch_legacy" / f"{name}.pt"
    torch.save(root, legacy, _use_new_zipfile_serialization=False)


def _views(rng):
    numbers = torch.from_numpy(rng.normal(size=(4, 6)))
    return [
        numbers.T,
        numbers[1:, ::2],
        numbers.float(),
        torch.nn.Parameter(numbers.half()),
        numbers.bfloat16(),
        torch.tensor(3),
        torch.empty(0, 4),
    ]


def _write_part(whole, path, index):
    """A few of the datasets, and one in bfloat16."""
    with h5py.File(whole) as old, h5py.File(path, "w") as new:
        names = []
        old.visititems(
            lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
        )
        for name in names[index::14]:
            new[name] = old[name][()]
        halves = new.create_dataset("halves", data=np.ones(3, "bfloat16"))
        halves.attrs["dtype"] = "bfloat16"


def _write_keras_part(whole, part, index):
    with (
        zipfile.ZipFile(whole) as old,
        zipfile.ZipFile(whole.with_stem(f"part{index}"), "w") as new,
    ):
        new.writestr("config.json", old.read("config.json"))
        new.write(part, "model.weights.h5")
