"""The sizes of a model, from which its weights follow."""

import dataclasses
import math

from keras_convnextv2.models.variants import PAPER_BLOCK, Variant
from keras_convnextv2.weights.skeleton import weights_of

_USUAL_STEM_STRIDE, _USUAL_CHANNELS = 4, 3
_PARTS = {"norm": "head", "head": "head", "decoder": "decoder"}


@dataclasses.dataclass(frozen=True)
class Decoder:
    """Sizes of FCMAE's decoder: channels, blocks, and values of a patch (P * P * channels)."""

    width: int
    depth: int
    num_values: int


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What fixes the weights of a backbone, a classifier (`num_classes`) or an FCMAE (`decoder`).

    Args:
        variant: a `Variant`.
        stem_stride: int, also the side of the stem's kernel.
        channels: int, of the images.
        num_classes: int, or None without a head.
        decoder: a `Decoder`, or None.
    """

    variant: Variant
    stem_stride: int
    channels: int
    num_classes: int | None = None
    decoder: Decoder | None = None

    def shapes(self):
        """{name: shape in Keras} of all weights, as `stage0_block0/depthwise/kernel`."""
        return {weight.name: weight.shape for weight in weights_of(self)}

    def of_backbone(self):
        """The `Sizes` of the backbone alone; where its layer scale began is left out."""
        block = self.variant.block
        block = dataclasses.replace(block, layer_scale=None if block.layer_scale is None else 1.0)
        variant = dataclasses.replace(self.variant, block=block)
        return dataclasses.replace(self, variant=variant, num_classes=None, decoder=None)

    def num_parameters(self):
        """The number of values in all weights."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def describe(self):
        """For messages: "atto, 1000 classes"."""
        depths, widths = (
            ",".join(map(str, row)) for row in (self.variant.depths, self.variant.widths)
        )
        text = self.variant.size_name or f"depths {depths}, widths {widths}"
        if self.variant.block != PAPER_BLOCK:
            text += f", {self.variant.block}"
        if self.stem_stride != _USUAL_STEM_STRIDE:
            text += f", stem stride {self.stem_stride}"
        if self.channels != _USUAL_CHANNELS:
            text += f", {self.channels} channels"
        if self.decoder is not None:
            text += f", decoder of width {self.decoder.width} and depth {self.decoder.depth}"
        if self.num_classes is not None:
            text += f", {self.num_classes} classes"
        return text


def part_of(weight):
    """The part of a model that has a weight of this name: "head", "decoder" or "backbone"."""
    return _PARTS.get(weight.partition("/")[0], "backbone")
