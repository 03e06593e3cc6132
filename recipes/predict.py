r"""Runs any saved model on image files: a run of these recipes, an export, another library's file.

The same output for all of them, for each file its classes with their probabilities:

    python -m recipes.predict --model=runs/finetuned --images=photograph.jpg,another.png
    python -m recipes.predict --model=model.onnx --images=photographs --top=3 --json
    python -m recipes.predict --model=exported/saved_model --images=photographs --output=scores.npz

Probabilities are those after the temperature of a model that has one (see recipes.evaluate).

Of a backbone it shows the shape and the norm of its features; --output writes them to a file.

Files are read as recipes.evaluate reads them, cut to the centre and resized to the model's size; a
model of one channel gets them in grey. A file that cannot be read is named, the others go on, and
the exit status is 2 at the end. With --json a file is a line on standard output, the unreadable
ones too, which have an "error" in place of the result.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from absl import flags

from . import (
    artefacts,
    image_files,
    image_memory,
    model_flags,
    normalisation,
    pixel_range,
    program,
)
from .printable import one_line, printable

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "model",
    None,
    "A run's folder or .keras file; an export: a SavedModel's folder, .tflite, .onnx, .xml "
    "(OpenVINO) or .pt2 (PyTorch); or weights of the official code, timm, transformers or "
    "mmpretrain, as file, folder or hf://owner/name.",
    required=True,
)
flags.DEFINE_multi_string(
    "images",
    None,
    "Image files, or folders, searched to any depth. Commas part names, but in a word that is the "
    "name of a file or folder as a whole; the flag may be given several times.",
    required=True,
)
flags.DEFINE_integer("top", 5, "Classes to show of each file.", lower_bound=1)
flags.DEFINE_integer("batch_size", 16, "Images at once.", lower_bound=1)
flags.DEFINE_string(
    "image_size",
    None,
    "Size in pixels, H or HxW, needed for a model that takes any. Default: the model's.",
)
flags.DEFINE_integer("threads", None, "CPU threads. Default: the runtime's own.", lower_bound=1)
flags.DEFINE_bool(
    "tta",
    False,
    "Show a classifier each image and its mirror image, and take the mean of the probabilities.",
)
flags.DEFINE_string(
    "output",
    None,
    "New .npz file for `files` and their `probabilities`, or `features`. Default: none.",
)
flags.DEFINE_bool("json", False, "Print one JSON object a file, a line each.")
image_memory.define_flags()
flags.adopt_module_key_flags(image_memory)
artefacts.define_flags()
flags.adopt_module_key_flags(artefacts)
normalisation.define_flags()
flags.adopt_module_key_flags(normalisation)
pixel_range.define_flags()
flags.adopt_module_key_flags(pixel_range)


def main():
    size = model_flags.given_image_size()
    output = _new_file(FLAGS.output)
    paths = image_files.find(FLAGS.images)
    model = artefacts.open_model(FLAGS.model, FLAGS.threads, FLAGS.trusted)
    if model.kind != "keras" and (FLAGS.mean is not None or FLAGS.std is not None):
        raise ValueError(
            f"--mean and --std are of a Keras model that does not say them; {FLAGS.model} keeps "
            "its own. Leave them out, or export it anew with them."
        )
    channels = model.metadata["input"]["shape"][-1]
    used_range = _pixel_range(model, paths)
    size = artefacts.image_size_for(model, FLAGS.model, size)
    is_classifier = model.metadata["output"]["kind"] != "features"
    if FLAGS.tta and not is_classifier:
        raise ValueError(f"--tta is of classifiers; {FLAGS.model} is a backbone.")

    read, results = [], []
    for start in range(0, len(paths), FLAGS.batch_size):
        part = paths[start : start + FLAGS.batch_size]
        images, errors = _read(part, size, channels, used_range)
        if images:
            images = artefacts.to_input(np.stack(images), model)
            outputs = _probabilities(model, images) if is_classifier else model(images)
            results.extend(outputs if output else ())
            remaining = iter(outputs)
        for path in part:
            if path in errors:
                _print_error(path, errors[path])
            else:
                read.append(path)
                _print_result(path, next(remaining), model, is_classifier)
    if output:
        _save(output, read, results, is_classifier)
    if len(read) < len(paths):
        raise ValueError(f"{len(paths) - len(read)} of {len(paths)} files could not be read.")


def _new_file(name):
    """--output as a path, checked before anything is computed."""
    if name is None:
        return None
    path = Path(name)
    if path.suffix != ".npz":
        raise ValueError(f"--output is a file that ends in .npz. Received: {name}")
    if path.exists():
        raise ValueError(f"--output: {path} exists, and is not overwritten. Name a new file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _pixel_range(model, paths):
    """The `PixelRange` of the files: what the model was trained with, else what they say."""
    from keras_convnextv2.data.pixel_survey import find_pixel_range

    trained_with = pixel_range.known(model.metadata["input"].get("pixel_range"), FLAGS.model)
    found = find_pixel_range(paths, trained_with)
    pixel_range.announce(found)
    return found or trained_with


def _read(paths, size, channels, used_range):
    """The images that could be read, in order, and {path: error} of the others."""
    from keras_convnextv2.data import ImageSourceError

    def attempt(path):
        try:
            return image_files.read(path, size, channels, used_range)
        except ImageSourceError as error:
            return error

    with ThreadPoolExecutor(2) as readers:
        found = dict(zip(paths, readers.map(attempt, paths), strict=True))
    errors = {path: read for path, read in found.items() if isinstance(read, ImageSourceError)}
    return [read for path, read in found.items() if path not in errors], errors


def _probabilities(model, images):
    from keras_convnextv2.analysis import with_flips

    def probabilities(images):
        return artefacts.to_probabilities(model(images), model)

    return with_flips(probabilities, images) if FLAGS.tta else probabilities(images)


def _print_error(path, error):
    if FLAGS.json:
        print(json.dumps({"file": path, "error": str(error)}), flush=True)
    print(one_line(error), file=sys.stderr)


def _print_result(path, output, model, is_classifier):
    if is_classifier:
        best = np.argsort(-output, kind="stable")[: FLAGS.top]
        classes = [
            {
                "class": artefacts.class_label(model, index),
                "index": int(index),
                "probability": float(output[index]),
            }
            for index in best
        ]
        result = {"file": path, "classes": classes}
        lines = [
            f"  {100 * entry['probability']:5.1f} %  {printable(entry['class'])}"
            for entry in classes
        ]
    else:
        norm = float(np.linalg.norm(output.astype("float64")))
        result = {"file": path, "shape": list(output.shape), "norm": norm}
        lines = [f"  features {' x '.join(map(str, output.shape))}, norm {norm:.4f}"]
    if FLAGS.json:
        print(json.dumps(result), flush=True)
    else:
        print("\n".join([printable(path), *lines]), flush=True)


def _save(path, files, results, is_classifier):
    name = "probabilities" if is_classifier else "features"
    results = np.stack(results) if results else np.zeros((0,), "float32")
    np.savez(path, files=np.array(files, dtype=str), **{name: results})
    print(f"{name} of {len(files)} files: {printable(path)}", file=sys.stderr)


if __name__ == "__main__":
    program.run(main)
