"""The images of a run: the embedded ones or a folder's, in batches."""

import dataclasses
import functools
import sys
import warnings
from pathlib import Path

import numpy as np
from absl import flags

from . import image_memory, pixel_range, processes
from .printable import printable

FLAGS = flags.FLAGS

EMBEDDED_IMAGES = Path(__file__).parent / "fashion_mnist"


def open_images(split, trained_with=None, data_dir=None):
    """The source of one split of --data_dir; what of the folder is not read is said once.

    Args:
        split: "train", "validation" or "test".
        trained_with: optional `PixelRange`, where --pixel_range is not given.
        data_dir: optional str, another folder.
    """
    from keras_convnextv2.data import ImageSourceWarning, open_source

    given = pixel_range.given()
    folder = FLAGS.data_dir if data_dir is None else data_dir
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImageSourceWarning)  # they are its notes
        source = open_source(folder or EMBEDDED_IMAGES, split, given or trained_with)
    if processes.is_writer():
        for note in source.notes:
            _say_once(note)
        pixel_range.announce(source.pixel_range)
    if given is not None and source.pixel_range is None:
        _say_once(f"--pixel_range: no image has more than 8 bits: {source.description}")
    return image_memory.limited(source)


@functools.cache
def _say_once(note):
    print(printable(note), file=sys.stderr)


def check_channels(source, channels):
    """Raises ValueError where --weights takes images of other channels than a source has."""
    if channels != source.channels:
        way_out = "" if FLAGS.data_dir else ". Give --data_dir, a folder of your images"
        raise ValueError(
            f"--weights takes images of {channels} channels; these have {source.channels}: "
            f"{source.description}{way_out}"
        )


def open_training_images(settings):
    """The training images; with --check_images each is read first."""
    source = open_images("train")
    return _checked(settings, [source])[0] if settings.check_images else source


def open_splits(settings, trained_with=None):
    """(images to train on, for validation or None, to test with) of a fine-tuning.

    Images to measure with are read before, where some may be passed over: none of them is to stand
    in for another.

    Args:
        settings: `Settings`.
        trained_with: optional `PixelRange` of the weights, where --pixel_range is not given.

    Raises:
        ValueError: images without labels, or of one class alone.
        ImageSourceError: more images than --max_bad_images cannot be read; it names all.
    """
    from keras_convnextv2.data import NoSuchSplitError

    train = open_images("train", trained_with)
    if train.labels is None:
        raise ValueError(
            f"Labels are needed, but there are none: {train.description}. Give a folder with one "
            "folder a class."
        )
    if len(train.class_names) == 1:
        raise ValueError(
            f"There is one class alone, {train.class_names[0]!r}, and nothing to tell apart: "
            f"{train.description}. Name a folder that holds a folder a class."
        )
    try:
        validated = open_images("validation", trained_with)
    except NoSuchSplitError:
        validated = None
    if validated is None and settings.validation_fraction:
        train, validated = train.split(settings.validation_fraction, settings.seed)
    if settings.labels_per_class:
        train = train.labels_per_class(settings.labels_per_class, settings.seed)
    test = open_images("test", trained_with)
    if settings.check_images:
        train, validated, test = _checked(settings, [train, validated, test])
    elif settings.max_bad_images:
        validated, test = _checked(settings, [validated, test])
    return train, validated, test


def _checked(settings, sources):
    """The sources without images that cannot be read, which are named; None stays None."""
    from keras_convnextv2.data import drop_bad_images
    from keras_convnextv2.data.batch_reader import error_of

    readable, bad, num_images = [], {}, 0
    for source in sources:
        if source is not None:
            num_images += len(source)
            workers = max(settings.workers, 1)
            source, found = drop_bad_images(source, settings.size, workers=workers)
            bad |= found
        readable.append(source)
    if len(bad) > settings.max_bad_images:
        raise error_of(bad, num_images, settings.max_bad_images)
    name_bad_images(bad)
    return readable


def _readable(settings, source):
    """`source`; where --max_bad_images are allowed, without those that cannot be read."""
    if not settings.max_bad_images:
        return source
    (readable,) = _checked(settings, [source])
    if not len(readable):
        raise ValueError(f"None of these images can be read: {source.description}")
    return readable


def name_bad_images(bad):
    """Says on standard error which images are passed over, and why; each once."""
    for name, reason in bad.items():
        _say_once(f"passed over, since it cannot be read: {name} ({reason})")


def training_batches(source, settings, augmentation, labelled=True):
    """Shuffled, augmented batches of one size.

    Args:
        source: `ImageSource`.
        settings: `Settings`.
        augmentation: `data.Augmentation`.
        labelled: bool.
    """
    from keras_convnextv2.data import ImageBatches

    stages = augmentation.stages(source.mean)
    balanced = "sampling" in settings and settings.sampling == "balanced"
    return ImageBatches(
        source,
        augmentation.framing(settings.size),
        settings.batch_size,
        labelled=labelled,
        shuffle=True,
        seed=settings.seed,
        drop_remainder=True,
        sampling="balanced" if balanced else None,
        max_bad_images=settings.max_bad_images,
        workers=settings.workers,
        shard=processes.shard(),
        **stages,
    )


def evaluation_batches(source, settings, labelled=True):
    """All images, in order, framed as --evaluation_crop says."""
    from keras_convnextv2.data import ImageBatches

    return ImageBatches(
        source,
        evaluation_framing(settings),
        settings.batch_size,
        labelled=labelled,
        workers=settings.workers,
    )


def evaluation_framing(settings):
    """What `ImageBatches` takes: (H, W), or the paper's crop."""
    from keras_convnextv2.data import ResizeThenCrop

    if not settings.evaluation_crop:
        return settings.size
    return ResizeThenCrop(settings.size, settings.evaluation_crop)


def probe_batches(settings, split, backbone):
    """Labelled batches of --probe_dir, as the backbone takes them, of --probe_images at most."""
    from keras_convnextv2.data.image_source import spread

    known = pixel_range.known(backbone.pixel_range, "the model")
    source = open_images(split, known, settings.probe_dir)
    if source.channels != backbone.image_shape[-1] or source.labels is None:
        raise ValueError(
            f"--probe_dir: labelled images of {backbone.image_shape[-1]} channels are needed. "
            f"Found: {source.description}, of {source.channels} channels"
        )
    mean, std = backbone.normalisation
    places = spread(len(source), settings.probe_images)
    source = dataclasses.replace(
        source, records=source.records[places], labels=source.labels[places], mean=mean, std=std
    )
    return evaluation_batches(_readable(settings, source), settings)


def measured_batches(settings, train):
    """Batches of the same images each time for --measure_every, of the test split or `train`."""
    from keras_convnextv2.data.image_source import spread

    source = _held_out_images(train)
    places = spread(len(source), settings.measure_images)
    source = _readable(settings, source.taken(places, "spread over them"))
    source = dataclasses.replace(source, mean=train.mean, std=train.std)
    return evaluation_batches(source, settings, labelled=False)


@dataclasses.dataclass(frozen=True)
class SomeImages:
    """Images to draw: normalised, float32 (N, H, W, C), and by what."""

    images: np.ndarray
    mean: tuple
    std: tuple


def some_images(settings, train, count=8):
    """`SomeImages` spread over the test split, or over `train` where there is no other."""
    from keras_convnextv2.data import preprocess
    from keras_convnextv2.data.image_source import spread

    source = _held_out_images(train)
    source = _readable(settings, source.taken(spread(len(source), count), "spread over them"))
    pixels = source.read(range(len(source)), settings.size)
    mean, std = source.mean, source.std
    return SomeImages(preprocess(pixels, mean, std), mean, std)


def _held_out_images(train):
    """The test split, or `train` where there is no other."""
    from keras_convnextv2.data.image_source import NoSuchSplitError

    try:
        return open_images("test", train.pixel_range)
    except NoSuchSplitError:
        return train


def evaluate(model, batches):
    """`model.evaluate` as a dict of floats; an image that cannot be read is named."""
    try:
        scores = model.evaluate(batches, verbose=0, return_dict=True)
    except Exception as error:
        if batches.error is not None:
            raise batches.error from error
        raise
    return {name: float(score) for name, score in scores.items()}
