"""What comes along with weights besides numbers."""

import dataclasses
import functools
import itertools
import math
import sys

import keras

from keras_convnextv2.layers import responses
from keras_convnextv2.models.normalisation import checked_normalisation
from keras_convnextv2.models.pixel_range import checked_pixel_range
from keras_convnextv2.models.probabilities import checked_temperature
from keras_convnextv2.models.variants import PAPER_BLOCK, BlockSpec
from keras_convnextv2.weights.errors import WeightsError

META_LICENCE = "cc-by-nc-4.0"
USUAL_IMAGE_SIZE = (224, 224)
_LONG = {
    META_LICENCE: "CC BY-NC 4.0, no commercial use (https://creativecommons.org/licenses/by-nc/4.0)"
}


@dataclasses.dataclass(frozen=True)
class Description:
    """What a file says of its weights; None where it says nothing.

    Args:
        class_names: tuple of str.
        image_size: (height, width) in pixels.
        licence: str.
        normalisation: (mean, std) of the images in 0..1, tuples of floats.
        block: `BlockSpec`, of our own files whose blocks are not the paper's.
        pixel_range: (low, high), the values that are black and white in these images.
        temperature: float, what the head's logits are divided by before they are probabilities.
        multi_label: True, of a head for images of several labels.
    """

    class_names: tuple | None = None
    image_size: tuple | None = None
    licence: str | None = None
    normalisation: tuple | None = None
    block: BlockSpec | None = None
    pixel_range: tuple | None = None
    temperature: float | None = None
    multi_label: bool | None = None

    def __post_init__(self):
        size = self.image_size
        if size is not None and not (
            len(size) == 2 and all(type(side) is int and 0 < side <= 1 << 16 for side in size)
        ):
            object.__setattr__(self, "image_size", None)

    def completed_by(self, other):
        """This description, with what it lacks taken from another."""
        said = {name: value for name, value in vars(self).items() if value is not None}
        return dataclasses.replace(other, **said)

    def demand_channels(self, channels, path):
        """Raises WeightsError where the normalisation is of images of other channels."""
        if self.normalisation is not None and len(self.normalisation[0]) != channels:
            raise WeightsError(
                f"{path} holds weights for images of {channels} channel(s) and the normalisation "
                f"of {len(self.normalisation[0])}, {self.normalisation}. One of them is not of "
                "this model."
            )

    def describe(self, backbone):
        """Tells a backbone of its weights: their licence, their images' size and normalisation.

        A backbone for images of other channels has no normalisation, one of known size no other.
        """
        *size, channels = backbone.image_shape
        backbone.licence = self.licence
        backbone.training_image_size = self.image_size if None in size else None
        is_of_channels = self.normalisation and len(self.normalisation[0]) == channels
        backbone.normalisation = self.normalisation if is_of_channels else None
        backbone.pixel_range = self.pixel_range

    def describe_head(self, classifier):
        """Tells a classifier that has the head of these weights its temperature, and of labels.

        One with an activation has no temperature: its head must be divided by it.
        """
        if self.multi_label:
            classifier.multi_label = True
        has_none = self.temperature is None or classifier.activation is not keras.activations.linear
        classifier.temperature = 1.0 if has_none else self.temperature


def description_of(model):
    """The `Description` of a backbone's, a classifier's or an FCMAE's weights."""
    backbone = getattr(model, "backbone", model)
    size, temperature = tuple(backbone.image_shape[:2]), getattr(model, "temperature", 1.0)
    return Description(
        class_names=getattr(model, "class_names", None),
        image_size=backbone.training_image_size if None in size else size,
        licence=backbone.licence,
        normalisation=backbone.normalisation,
        block=None if backbone.variant.block == PAPER_BLOCK else backbone.variant.block,
        pixel_range=backbone.pixel_range,
        temperature=None if temperature == 1 else temperature,
        multi_label=getattr(model, "multi_label", False) or None,
    )


def checked_names(names):
    """Class names from a file as a tuple of strings; None where they are none."""
    if not isinstance(names, (list, tuple)) or not names:
        return None
    return tuple(names) if all(isinstance(name, str) for name in names) else None


def first_difference(names, others):
    """(place, name, other) of the first class where two lists differ; None for one too few."""
    pairs = enumerate(itertools.zip_longest(names, others))
    return next((place, *pair) for place, pair in pairs if pair[0] != pair[1])


def licence_of(text):
    """A licence from a file; None where it is none."""
    is_one = isinstance(text, str) and 0 < len(text) < 200 and text.isprintable()  # it is printed
    return text.lower() if is_one else None


def normalisation_of(value):
    """A normalisation from a file, a pair of lists; None where there is none.

    Raises:
        WeightsError: it is no normalisation. To go on without it would be to compute nonsense.
    """
    try:
        return checked_normalisation(value)
    except ValueError as error:
        raise WeightsError(str(error)) from error


def pixel_range_of(value):
    """A pixel range from a file, a pair of numbers; None where there is none.

    Raises:
        WeightsError: it is no pixel range.
    """
    try:
        return checked_pixel_range(value)
    except ValueError as error:
        raise WeightsError(str(error)) from error


def temperature_of(value):
    """A temperature from a file; None where there is none.

    Raises:
        WeightsError: it is no temperature.
    """
    try:
        return None if value is None else checked_temperature(value)
    except ValueError as error:
        raise WeightsError(str(error)) from error


def checked_block(fields):
    """The `BlockSpec` of a dict of its fields from a file.

    Raises:
        WeightsError: it is none, or its response is not registered in `layers.responses`.
    """
    try:
        block = BlockSpec(**fields)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"it describes its blocks as {repr(fields)[:100]}") from error
    if block.response not in responses.names():
        raise WeightsError(
            f"its blocks have the response {block.response[:100]!r}; registered are "
            f"{responses.described()}. Import the module that registers it first"
        )
    if block.layer_scale is not None and not math.isfinite(block.layer_scale):
        raise WeightsError(f"its layer scale begins at {block.layer_scale}")
    return block


def announce_licence(licence, may_be_metas):
    """Prints the licence of weights on standard error, once each.

    Args:
        licence: as in `Description`; None where the file says nothing.
        may_be_metas: whether the file looks like one that Meta released, which are spread in
            several formats, mostly without a word on their licence.
    """
    if licence is not None:
        _print_once(f"Licence of these weights: {_LONG.get(licence, licence)}")
    elif may_be_metas:
        _print_once(
            "The file names no licence. ConvNeXt V2 weights that Meta trained on ImageNet are "
            f"{_LONG[META_LICENCE]}, in every format."
        )


@functools.cache
def _print_once(text):
    print(text, file=sys.stderr)
