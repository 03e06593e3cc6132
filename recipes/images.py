"""The images of a run: the embedded ones or a folder's, in batches."""

import functools
import sys
import warnings
from pathlib import Path

from absl import flags

from recipes import image_memory, pixel_range
from recipes.printable import printable

FLAGS = flags.FLAGS

EMBEDDED_IMAGES = Path(__file__).parent / "fashion_mnist"


def open_images(split, trained_with=None):
    """The source of one split of --data_dir; what of the folder is not read is said once.

    Args:
        split: "train" or "test".
        trained_with: optional `PixelRange`, where --pixel_range is not given.
    """
    from keras_convnextv2.data import ImageSourceWarning, open_source

    given = pixel_range.given()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImageSourceWarning)  # they are its notes
        source = open_source(FLAGS.data_dir or EMBEDDED_IMAGES, split, given or trained_with)
    for note in source.notes:
        _say_once(note)
    pixel_range.announce(source.pixel_range)
    if given is not None and source.pixel_range is None:
        _say_once(f"--pixel_range: no image has more than 8 bits: {source.description}")
    return image_memory.limited(source)


@functools.cache
def _say_once(note):
    print(printable(note), file=sys.stderr)


def training_batches(source, image_size, labelled):
    """Shuffled, augmented batches of one size, by the flags."""
    from keras_convnextv2.data import ImageBatches, flip_and_shift

    if labelled and len(source.class_names) == 1:
        raise ValueError(
            f"There is one class alone, {source.class_names[0]!r}, and nothing to tell apart: "
            f"{source.description}. Name a folder that holds a folder a class."
        )
    if source.pixel_range is not None:
        pixel_range.keep(source.pixel_range)
    transforms = []
    if FLAGS.max_shift >= 0:
        transforms.append(functools.partial(flip_and_shift, max_shift=FLAGS.max_shift))
    return ImageBatches(
        source,
        image_size,
        FLAGS.batch_size,
        labelled=labelled,
        shuffle=True,
        seed=FLAGS.seed,
        drop_remainder=True,
        transforms=transforms,
        workers=FLAGS.workers,
    )


def evaluation_batches(source, image_size, labelled):
    """All images, in order."""
    from keras_convnextv2.data import ImageBatches

    return ImageBatches(
        source, image_size, FLAGS.batch_size, labelled=labelled, workers=FLAGS.workers
    )


def evaluate(model, batches):
    """`model.evaluate` as a dict of floats; an image that cannot be read is named."""
    try:
        scores = model.evaluate(batches, verbose=0, return_dict=True)
    except Exception as error:
        if batches.error is not None:
            raise batches.error from error
        raise
    return {name: float(score) for name, score in scores.items()}
