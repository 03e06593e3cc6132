"""The sizes of a model, and the names and shapes of the weights that follow from them."""

import dataclasses
import math

from keras_convnextv2.models.variants import VARIANTS, Variant

_USUAL_STEM_STRIDE, _USUAL_CHANNELS = 4, 3


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

    @property
    def variant_name(self):
        """The variant's name in `VARIANTS`, or None."""
        return next((name for name, row in VARIANTS.items() if row == self.variant), None)

    def shapes(self):
        """{name: shape in Keras} of all weights, as `stage0_block0/depthwise/kernel`."""
        shapes = {}
        widths = self.variant.widths
        _add_convolution(shapes, "stem/conv", self.stem_stride, self.channels, widths[0])
        _add_norm(shapes, "stem/norm", widths[0])
        for stage, (depth, width) in enumerate(zip(self.variant.depths, widths, strict=True)):
            if stage > 0:
                _add_norm(shapes, f"stage{stage}_downsample/norm", widths[stage - 1])
                name = f"stage{stage}_downsample/conv"
                _add_convolution(shapes, name, 2, widths[stage - 1], width)
            for block in range(depth):
                _add_block(shapes, f"stage{stage}_block{block}", width)
        if self.num_classes is not None:
            _add_norm(shapes, "norm", widths[-1])
            _add_linear(shapes, "head", widths[-1], self.num_classes)
        if self.decoder is not None:
            width = self.decoder.width
            shapes["decoder/mask_token"] = (width,)
            _add_linear(shapes, "decoder/project", widths[-1], width)
            for block in range(self.decoder.depth):
                _add_block(shapes, f"decoder/block{block}", width)
            _add_linear(shapes, "decoder/predict_pixels", width, self.decoder.num_values)
        return shapes

    def num_parameters(self):
        """The number of values in all weights."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def describe(self):
        """For messages: "atto, 1000 classes"."""
        depths, widths = (
            ",".join(map(str, row)) for row in (self.variant.depths, self.variant.widths)
        )
        text = self.variant_name or f"depths {depths}, widths {widths}"
        if self.stem_stride != _USUAL_STEM_STRIDE:
            text += f", stem stride {self.stem_stride}"
        if self.channels != _USUAL_CHANNELS:
            text += f", {self.channels} channels"
        if self.decoder is not None:
            text += f", decoder of width {self.decoder.width} and depth {self.decoder.depth}"
        if self.num_classes is not None:
            text += f", {self.num_classes} classes"
        return text


def _add_convolution(shapes, name, side, inputs, outputs):
    shapes[f"{name}/kernel"] = (side, side, inputs, outputs)
    shapes[f"{name}/bias"] = (outputs,)


def _add_linear(shapes, name, inputs, outputs):
    shapes[f"{name}/kernel"] = (inputs, outputs)
    shapes[f"{name}/bias"] = (outputs,)


def _add_norm(shapes, name, width):
    shapes[f"{name}/gamma"] = (width,)
    shapes[f"{name}/beta"] = (width,)


def _add_block(shapes, name, width):
    shapes[f"{name}/depthwise/kernel"] = (7, 7, width, 1)
    shapes[f"{name}/depthwise/bias"] = (width,)
    _add_norm(shapes, f"{name}/norm", width)
    _add_linear(shapes, f"{name}/expand", width, 4 * width)
    _add_norm(shapes, f"{name}/response_norm", 4 * width)
    _add_linear(shapes, f"{name}/project", 4 * width, width)
