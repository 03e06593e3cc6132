"""Opens damaged weights files, in a process of its own: a crash ends it and no more.

    python tests/reference/fuzz_weights.py FOLDER SEED FILES_PER_KIND [KIND ...]

FOLDER holds what `write_small_files` wrote. Each file ends in success or a WeightsError; what else
happens is reported, with the file kept. Prints JSON: {"counts": {kind: [loaded, refused,
seconds]}, "failures": [...]}.
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

from keras_convnextv2.weights.checkpoint import read_finite
from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.files import open_weights
from keras_convnextv2.weights.matching import identify, match
from tests.reference.mutations import (
    mutated_bytes,
    mutated_hdf5,
    mutated_json,
    mutated_pickle,
    mutated_safetensors,
    mutated_zip,
)

MEMORY = 1 << 30  # bytes more than the process has after its imports
MAX_SECONDS = 10  # for one file; each takes some milliseconds
MAX_FAILURES = 5


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


def outcome(path):
    """ "loaded", "refused", or what should not have happened."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        signal.alarm(MAX_SECONDS)  # ends the process
        try:
            read_all(path)
            result = "loaded"
        except WeightsError as error:
            wanted_memory = isinstance(error.__cause__, MemoryError)
            result = traceback.format_exc() if wanted_memory else "refused"
        except BaseException:
            result = traceback.format_exc()
        signal.alarm(0)
    return f"warned: {warned[0].message}" if warned else result


def limit_memory():
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def fuzz(kind, folder, seed, num_files):
    """[loaded, refused, seconds] and a list of failures."""
    rng = random.Random(f"{kind} {seed}")
    sources = [(path.suffix, path.read_bytes()) for path in sorted((folder / kind).iterdir())]
    counts, failures, started = {"loaded": 0, "refused": 0}, [], time.perf_counter()
    for index in range(num_files):
        suffix, content = rng.choice(sources)
        path = folder / f"{kind}{suffix}"  # after a crash it is there to be looked at
        path.write_bytes(MUTATIONS[kind](content, rng))
        result = outcome(path)
        if result in counts:
            counts[result] += 1
            continue
        shutil.copy(path, folder / f"{kind}-{index}{suffix}")
        failures.append(f"{kind}-{index}{suffix}: {result}")
        if len(failures) == MAX_FAILURES:
            break
    return [*counts.values(), round(time.perf_counter() - started, 1)], failures


def main(folder, seed, num_files, kinds):
    # What a library writes to standard error is a failure too; the imports' own words are over.
    said = folder / f"stderr-{os.getpid()}.txt"
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    limit_memory()
    counts, failures = {}, []
    for kind in kinds or MUTATIONS:
        counts[kind], failed = fuzz(kind, folder, seed, num_files)
        failures += failed
    if said.stat().st_size:
        failures.append(f"said: {said.read_text(errors='replace')[-2000:]}")
    print(json.dumps({"counts": counts, "failures": failures}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
