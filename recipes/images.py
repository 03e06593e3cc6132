"""The images of a run: the embedded ones or a folder's, in batches."""

import functools
from pathlib import Path

from absl import flags

from recipes import image_memory

FLAGS = flags.FLAGS

EMBEDDED_IMAGES = Path(__file__).parent / "fashion_mnist"


def open_images(split):
    """The source of one split, "train" or "test", of --data_dir."""
    from keras_convnextv2.data import open_source

    return image_memory.limited(open_source(FLAGS.data_dir or EMBEDDED_IMAGES, split))


def training_batches(source, image_size, labelled):
    """Shuffled, augmented batches of one size, by the flags."""
    from keras_convnextv2.data import ImageBatches, flip_and_shift

    augment = None
    if FLAGS.max_shift >= 0:
        augment = functools.partial(flip_and_shift, max_shift=FLAGS.max_shift)
    return ImageBatches(
        source,
        image_size,
        FLAGS.batch_size,
        labelled=labelled,
        shuffle=True,
        seed=FLAGS.seed,
        drop_remainder=True,
        augment=augment,
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
