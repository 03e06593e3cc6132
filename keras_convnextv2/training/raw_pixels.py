"""A warning for images that are pixels still, where a model takes normalised ones.

A model that is given numbers of 0 to 255 computes, and learns little. Whatever form the images come
in, the first batch is looked at once for each model, and nothing of it is lost.
"""

import contextlib
import itertools
import random
import types
import warnings

import keras
import numpy as np

# Normalised images have values below 0, and none so large.
_LARGEST = 20.0
_NUM_IMAGES = 4  # of the first batch


def look_at_images(model, x):
    """Warns if the images in `x` look like pixels.

    Args:
        model: a model; of each, `x` is looked at once.
        x: what `fit`, `evaluate` or `predict` takes.

    Returns:
        What to go on with in place of `x`.
    """
    if getattr(model, "_has_looked_at_images", False) or x is None:
        return x
    model._has_looked_at_images = True
    if isinstance(x, types.GeneratorType):
        batches = list(itertools.islice(x, 1))
        for batch in batches:
            _warn_of_pixels(batch)
        return (batch for batch in itertools.chain(batches, x))
    if hasattr(x, "element_spec"):  # a `tf.data.Dataset`
        return _looking(x)
    with _nothing_drawn(), contextlib.suppress(Exception):  # what fails here fails again in `fit`
        _warn_of_pixels(_first_of(x))
    return x


def _first_of(x):
    if isinstance(x, keras.utils.PyDataset):
        return x[0]
    dataset = getattr(x, "dataset", None)  # of a `DataLoader`: one image, as it is before a batch
    return x if dataset is None else dataset[0]


@contextlib.contextmanager
def _nothing_drawn():
    """What is drawn within is drawn again afterwards."""
    states = random.getstate(), np.random.get_state()
    torch_state = contextlib.nullcontext()
    if keras.backend.backend() == "torch":
        import torch

        torch_state = torch.random.fork_rng(devices=())
    try:
        with torch_state:
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _looking(dataset):
    """A `tf.data.Dataset` of the same elements that warns when the first one comes by."""
    import tensorflow as tf

    spec = _images_of(dataset.element_spec)
    if not isinstance(spec, tf.TensorSpec):
        return dataset

    def warn(images):
        _warn_of_pixels(images)
        return np.int64(0)

    def look(index, element):
        images = _images_of(element)
        looked = tf.cond(
            tf.equal(index, 0),
            lambda: tf.numpy_function(warn, [images[:_NUM_IMAGES]], tf.int64),
            lambda: tf.constant(0, tf.int64),
        )
        with tf.control_dependencies([looked]):
            return tf.nest.map_structure(tf.identity, element)

    return dataset.enumerate().map(look)


def _images_of(batch):
    """The images of a batch in any of the forms that Keras takes."""
    if isinstance(batch, (tuple, list)):
        batch = batch[0]
    return batch.get("images") if isinstance(batch, dict) else batch


def _warn_of_pixels(batch):
    images = _images_of(batch)
    if images is None:
        return
    images = keras.ops.convert_to_numpy(images[:_NUM_IMAGES])
    is_integer = images.dtype.kind in "iu"
    if not images.size or not (is_integer or (images.min() >= 0 and images.max() > _LARGEST)):
        return
    warnings.warn(
        f"The images look like pixels: {images.dtype} of {images.min()} to {images.max()}. A model "
        "takes them normalised, as its weights were trained: `keras_convnextv2.preprocess` makes "
        "that of uint8 images.",
        stacklevel=4,
    )
