"""Which stored values are black and white, of files of more than 8 bits: the one place for it."""

import functools
import sys
import warnings

from absl import flags

from .printable import printable

FLAGS = flags.FLAGS


def define_flags():
    """--pixel_range."""
    flags.DEFINE_list(
        "pixel_range",
        None,
        "LOW,HIGH: the values that are black and white in files of more than 8 bits, as 0,4095 of "
        "12-bit values in 16-bit files. Default: what the model was trained with; else what the "
        "files' fields say, else a scan of them. Files of 8 bits are taken as they are.",
    )


def given():
    """The `PixelRange` of --pixel_range, None without.

    Raises:
        ValueError: it is none.
    """
    from keras_convnextv2.data import PixelRange

    words = FLAGS.pixel_range
    if words is None:
        return None
    try:
        low, high = map(float, words)
        return PixelRange(low, high, "by --pixel_range")
    except ValueError as error:
        raise ValueError(
            "--pixel_range is two numbers, the value that is black and a larger one that is white, "
            f"such as 0,4095. Received: {','.join(words)!r}"
        ) from error


def known(pixel_range, source):
    """The `PixelRange` of --pixel_range, else that of a model; None where neither says it.

    Args:
        pixel_range: (low, high) of the model, or None.
        source: str, the model's name.
    """
    from keras_convnextv2.data import PixelRange

    if FLAGS.pixel_range is not None or pixel_range is None:
        return given()
    return PixelRange(*pixel_range, f"what {source} was trained with")


def of_training(pixel_range, source):
    """As `known`, for images to train on: the model's range is taken where theirs lies within it.

    Other images than the model was pretrained with would lose what is above it and below.
    """
    from keras_convnextv2.data import ImageSourceWarning, open_source

    found = known(pixel_range, source)
    if found is None or FLAGS.pixel_range is not None or not FLAGS.data_dir:
        return found
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImageSourceWarning)  # said where they are opened to be read
        own = open_source(FLAGS.data_dir, "train").pixel_range
    if own is None or (found.low <= own.low and own.high <= found.high):
        return found
    print(
        printable(
            f"pixel range      {found}, is less than these images' {own.low:g} to {own.high:g}"
        ),
        file=sys.stderr,
    )
    return None


def kept(settings, source):
    """`Settings` whose --pixel_range is that of the images, which a run goes on with."""
    if source.pixel_range is None:
        return settings
    return settings.replaced(pixel_range=[repr(value) for value in source.pixel_range.values])


@functools.cache
def announce(pixel_range):
    """Says which range is used and why, once."""
    if pixel_range is None:
        return
    way_out = "" if FLAGS.pixel_range is not None else "; --pixel_range=LOW,HIGH sets another"
    print(printable(f"pixel range      {pixel_range}{way_out}"), file=sys.stderr)
