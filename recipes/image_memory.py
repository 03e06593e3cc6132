"""How large a picture may be: the flag, and a source of images that keeps to it."""

import dataclasses
import warnings

from absl import flags

FLAGS = flags.FLAGS


def define_flags():
    """--max_megapixels."""
    flags.DEFINE_float(
        "max_megapixels",
        64,
        "Million pixels of a picture that are decoded at most, each of 4 to 8 MB of memory. JPEG "
        "files, unless progressive, are decoded at a reduced scale, and may have more.",
        lower_bound=0,
    )


def limited(source):
    """A source of images whose files are refused above --max_megapixels."""
    from keras_convnextv2.data.folder_source import FileSource

    if not isinstance(source, FileSource):
        return source

    import PIL.Image

    # Pillow warns of files above a limit of its own, and refuses those of twice as much.
    warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
    if PIL.Image.MAX_IMAGE_PIXELS is not None:
        asked = int(1e6 * FLAGS.max_megapixels)
        PIL.Image.MAX_IMAGE_PIXELS = max(PIL.Image.MAX_IMAGE_PIXELS, asked)
    exact = "exact_decoding" in FLAGS and FLAGS.exact_decoding
    return dataclasses.replace(source, max_megapixels=FLAGS.max_megapixels, exact_decoding=exact)
