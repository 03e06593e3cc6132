"""Opens damaged weights files, in a process of its own: a crash ends it and no more.

    python tests/reference/fuzz_weights.py FOLDER SEED FILES_PER_KIND [KIND ...]

FOLDER holds what `write_small_files` wrote. Each file ends in success or a WeightsError; what else
happens is reported, with the file kept. Prints what `fuzzing.fuzz_all` does.
"""

import shutil
import sys
from pathlib import Path

from keras_convnextv2.weights.checkpoint import read_finite
from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.files import open_weights
from keras_convnextv2.weights.matching import identify, match
from tests.reference.fuzzing import Subject, fuzz_all
from tests.reference.mutations import (
    mutated_bytes,
    mutated_hdf5,
    mutated_json,
    mutated_pickle,
    mutated_safetensors,
    mutated_zip,
)


def mutated_pytorch(content, rng):
    return mutated_zip(content, rng, {"data.pkl": mutated_pickle})


def mutated_keras(content, rng):
    inner = {"config.json": mutated_config, "model.weights.h5": mutated_hdf5}
    return mutated_zip(content, rng, inner)


def mutated_config(content, rng):
    return rng.choice((mutated_json, mutated_bytes))(content, rng)


MUTATIONS = {
    "safetensors": mutated_safetensors,
    "pytorch": mutated_pytorch,
    "pytorch_legacy": mutated_bytes,
    "keras": mutated_keras,
    "hdf5": mutated_hdf5,
}


def read_all(path):
    """What `from_preset` does before it builds a model, and reads every tensor."""
    checkpoint = open_weights(path)
    try:
        contents = identify(checkpoint)
    except WeightsError:
        read_each(checkpoint, checkpoint.tensors)
        raise
    shapes = contents.sizes.shapes()
    result = match(contents, shapes)
    for weight in result.found:
        contents.read(weight, shapes[weight])
    read_each(checkpoint, result.left)
    if result.missing or result.wrong:
        raise WeightsError("not whole")


def read_each(checkpoint, keys):
    for key in keys:
        read_finite(checkpoint, key)


def main(folder, seed, num_files, kinds):
    subjects = {kind: (_subject(folder, kind), num_files) for kind in kinds or MUTATIONS}
    # What a library writes to standard error is a failure too; the imports' own words are over.
    fuzz_all(subjects, folder / "damaged", seed, is_silent=True)


def _subject(folder, kind):
    def make(made):
        return [Path(shutil.copy(path, made)) for path in sorted((folder / kind).iterdir())]

    def mutate(content, rng, path):
        return MUTATIONS[kind](content, rng)

    return Subject(make, mutate, read_all, WeightsError)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
