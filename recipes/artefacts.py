"""Any saved model, ready to be called: an exported artefact in its runtime, the others in Keras."""

import logging

import numpy as np
from absl import flags

from . import image_sizes, normalisation, program, saved_models


def define_flags():
    """--trusted."""
    flags.DEFINE_bool(
        "trusted",
        False,
        "Run an exported artefact whatever operations it holds. Those of a SavedModel can write "
        "files, and a .pt2 can run any program: only of whom you trust.",
    )


def open_model(path, threads=None, trusted=False):
    """Opens an artefact, a run's folder, a `.keras` file or another library's weights.

    Args:
        path: str, as --model says.
        threads: optional int, CPU threads to use.
        trusted: as in `open_artefact`.

    Returns:
        An `export.runtimes.Artefact`, or a `KerasModel`, which is used in the same way.

    Raises:
        ValueError: the path holds nothing of this kind, or a package that runs it is missing.
    """
    from keras_convnextv2.export.runtimes import PACKAGES, kind_of, open_artefact

    kind = kind_of(path)
    if kind is None:
        return KerasModel(path, threads)
    logging.disable(logging.WARNING)  # PyTorch's has a traceback of what is said below
    try:
        return open_artefact(path, threads, trusted)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != PACKAGES[kind]:
            raise
        raise ValueError(
            f"--model: {path} runs with the package {PACKAGES[kind]}, which is not installed: "
            f"{program.how_to_install(PACKAGES[kind])}."
        ) from error
    finally:
        logging.disable(logging.NOTSET)


class KerasModel:
    """A model that Keras runs, with the metadata and the call of an `Artefact`."""

    kind = "keras"

    def __init__(self, path, threads=None):
        _limit_threads(threads)
        model = saved_models.load(path, flag="model")

        import keras

        import keras_convnextv2 as kc

        if isinstance(model, kc.FCMAE):
            model = model.backbone
        backbone = saved_models.backbone_of(model)
        is_classifier = model is not backbone
        shape = backbone.image_shape
        normalisation.settle(backbone, path)
        mean, std = backbone.normalisation
        output = "features"
        if is_classifier:
            linear = model.activation is keras.activations.linear
            output = "logits" if linear else "probabilities"
        of_classifier = {
            name: getattr(model, name, None) for name in ("temperature", "multi_label")
        }
        names = getattr(model, "class_names", None)
        self.metadata = {
            "model": "classifier" if is_classifier else "backbone",
            "total_stride": backbone.total_stride,
            "input": {
                "name": "images",
                "shape": [None, *shape],
                "dtype": "float32",
                "mean": list(mean),
                "std": list(std),
                "pixel_range": backbone.pixel_range,
            },
            "output": {
                "name": "outputs",
                "kind": output,
                **(of_classifier if is_classifier else {}),
            },
            "class_names": None if names is None else list(names),
            "licence": backbone.licence,
        }
        self._model = model

    def __call__(self, images):
        return np.asarray(self._model.predict_on_batch(images), "float32")


def _limit_threads(threads):
    import keras

    if threads is None:
        return
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
    elif backend == "torch":
        import torch

        torch.set_num_threads(threads)
    else:
        raise ValueError(
            f"--threads: the backend {backend} takes no number of threads. Leave it out, set "
            "KERAS_BACKEND to tensorflow or torch, or give an exported artefact."
        )


def image_size_for(artefact, name, given=None):
    """The (H, W) of the images that an artefact is to be given; see `image_sizes.size_for`."""
    known = artefact.metadata["input"]["shape"][1:3]
    return image_sizes.size_for(known, artefact.metadata["total_stride"], name, given)


def to_input(pixels, artefact):
    """uint8 images (N, H, W, C) as a model takes them: as they are, or normalised."""
    from keras_convnextv2.data import preprocess

    wanted = artefact.metadata["input"]
    if wanted["dtype"] == "uint8":
        return pixels
    return preprocess(pixels, wanted["mean"], wanted["std"])


def to_probabilities(outputs, artefact):
    """The outputs (N, classes) of a classifier as probabilities.

    Logits are divided by the temperature that the model says, and become probabilities by softmax,
    or by sigmoid where an image may have several labels; others are probabilities already.
    """
    from keras_convnextv2.models.probabilities import probabilities_of

    given = artefact.metadata["output"]
    if given["kind"] != "logits":
        return outputs
    return probabilities_of(outputs, given.get("temperature", 1.0), given.get("multi_label", False))


def class_label(artefact, index):
    """The name of a class, or "class 7" where the model knows none."""
    names = artefact.metadata["class_names"]
    return f"class {index}" if names is None else names[index]
