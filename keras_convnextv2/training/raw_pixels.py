"""A warning for images that are pixels still, where a model takes normalised ones.

A model that is given numbers of 0 to 255 computes, and learns little. Whatever form the images come
in, the first batch of each call is looked at, and nothing of it is lost; that of a data set which
reads its images, at the first call alone. A model warns once.
"""

import contextlib
import itertools
import random
import types
import warnings
import weakref

import keras
import numpy as np

from keras_convnextv2.insides import is_validation_of_fit

# Normalised images have values below 0, and none so large.
_LARGEST = 20.0
_NUM_IMAGES = 4  # of the first batch


def look_at_images(model, x, options=()):
    """Warns if the images in `x` look like pixels.

    Args:
        model: the model that takes them.
        x: what `fit`, `evaluate` or `predict` takes.
        options: of `evaluate`, a dict: a generator that `fit` validates on is read elsewhere.

    Returns:
        What to go on with in place of `x`.
    """
    if getattr(model, "_has_warned_of_pixels", False) or x is None:
        return x
    if isinstance(x, types.GeneratorType):
        if is_validation_of_fit(dict(options)):
            return x
        batches = list(itertools.islice(x, 1))
        for batch in batches:
            _warn_of_pixels(model, batch)
        return (batch for batch in itertools.chain(batches, x))
    if hasattr(x, "element_spec") and hasattr(x, "enumerate"):  # a `tf.data.Dataset`
        return _looking(model, x)
    if isinstance(x, keras.utils.PyDataset) or hasattr(x, "dataset"):
        if not hasattr(model, "_datasets_looked_at"):
            model._datasets_looked_at = weakref.WeakSet()
        if x in model._datasets_looked_at:  # as after each epoch: to look is to read a batch
            return x
        model._datasets_looked_at.add(x)
    first = None
    with _nothing_drawn(), contextlib.suppress(Exception):  # what fails here fails again in `fit`
        first = _first_of(x)
    _warn_of_pixels(model, first)
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


def _looking(model, dataset):
    """A `tf.data.Dataset` of the same elements that warns when the first one comes by."""
    import tensorflow as tf

    spec = _images_of(dataset.element_spec)
    if not isinstance(spec, tf.TensorSpec):
        return dataset

    def warn(images):
        _warn_of_pixels(model, images)
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


def _warn_of_pixels(model, batch):
    images = _images_of(batch)
    if images is None or not hasattr(images, "dtype") or len(images.shape) not in (3, 4):
        return
    images = keras.ops.convert_to_numpy(images[:_NUM_IMAGES])
    is_integer = images.dtype.kind in "iu"
    if not images.size or not (is_integer or (images.min() >= 0 and images.max() > _LARGEST)):
        return
    model._has_warned_of_pixels = True
    warnings.warn(
        f"The images look like pixels: {images.dtype} of {images.min():.4g} to "
        f"{images.max():.4g}. A model takes them normalised, as its weights were trained: "
        "`keras_convnextv2.preprocess` makes that of uint8 images.",
        stacklevel=4,
    )
