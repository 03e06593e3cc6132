"""A checkpoint format as a table, used in both directions."""

import dataclasses
import re
from collections.abc import Callable

from keras_convnextv2.layers.block_spec import FIRST_VERSION_BLOCK, PAPER_BLOCK
from keras_convnextv2.models.variants import NUM_STAGES, Variant
from keras_convnextv2.weights.layouts import PYTORCH_KINDS
from keras_convnextv2.weights.sizes import Decoder, Sizes

_GRN, _LAYER_SCALE = "stage{}_block{}/response_norm/gamma", "stage{}_block{}/layer_scale/gamma"


@dataclasses.dataclass(frozen=True)
class Format:
    """How the weights are named and laid out in the checkpoints of one library.

    Args:
        name: as users write it.
        names: {our layer: their layer}; "{}" stands for each number: "stage{}_block{}/norm".
        kinds: {our layer, or the last part of its name: {our weight: (their weight, layout)}}, of
            layers that are not as in `PYTORCH_KINDS`.
        entry: where a PyTorch file of this format keeps the state dict, or None for a bare one.
        kinds_for: optional function of `Sizes` to more `kinds`, where what is written depends on
            the size.
        write_config: optional function (Sizes, Description) to the `config.json` of a folder, or
            None where the library has no name for such a model.
        read_config: optional function of a folder's `config.json` to a `Description`, or None
            where it is another library's.
        beside: optional regular expression of keys that its training leaves beside a model's.
        first_version: optional `Format` of the library's models of ConvNeXt V1, where these have
            other names.
    """

    name: str
    names: dict
    kinds: dict
    entry: str | None = "model"
    kinds_for: Callable | None = None
    write_config: Callable | None = None
    read_config: Callable | None = None
    beside: str | None = None
    first_version: "Format | None" = None

    def has(self, weight):
        """Whether the format has a place for a weight."""
        return _layer_of(weight)[0] in self.names

    def for_block(self, block):
        """The library's format for models of such blocks, or None where it has no place for them.

        Args:
            block: a `BlockSpec`: the paper's, or ConvNeXt V1's whatever its layer scale began at.
        """
        if block == PAPER_BLOCK:
            return self
        is_first_version = block.response == "none" and block.layer_scale is not None
        format = self.first_version or self
        return format if is_first_version and format.has(_LAYER_SCALE.format(0, 0)) else None

    def key(self, weight):
        """The name in a checkpoint of `stage0_block0/norm/gamma`."""
        layer, parameter, numbers = _layer_of(weight)
        theirs = self.names[layer].format(*numbers)
        return ".".join(filter(None, (theirs, self._weights(layer)[parameter][0])))

    def is_beside_model(self, key):
        """Whether a key is known to be of no use to any model here."""
        return self.beside is not None and re.match(self.beside, key) is not None

    def layout(self, weight, sizes=None):
        """The `Layout` of a weight, as models of these sizes are written."""
        layer, parameter, _ = _layer_of(weight)
        return self._weights(layer, sizes)[parameter][1]

    def _weights(self, layer, sizes=None):
        kinds = {**PYTORCH_KINDS, **self.kinds}
        if sizes and self.kinds_for:
            kinds |= self.kinds_for(sizes)
        return kinds.get(layer) or kinds[layer.rpartition("/")[2]]


def _layer_of(weight):
    """(layer with "{}" for each number, name within it, numbers)."""
    layer, _, parameter = weight.rpartition("/")
    return re.sub(r"\d+", "{}", layer), parameter, re.findall(r"\d+", layer)


def block_names(theirs, parts, ours="stage{}_block{}"):
    """Their names of a block's layers: five `parts` in the order of computing, after `theirs`."""
    our_parts = ("depthwise", "norm", "expand", "response_norm", "project")
    pairs = zip(our_parts, parts.split(), strict=True)
    return {f"{ours}/{part}": f"{theirs}.{name}" for part, name in pairs}


def read_block(format, shapes):
    """The `BlockSpec` of another library's checkpoint, ConvNeXt V2's or V1's.

    Args:
        format: a `Format`.
        shapes: {key without prefix: shape} of the checkpoint.

    Returns:
        BlockSpec, or a string that says why it is neither.
    """

    def count(weight):
        places = (
            (stage, block)
            for stage in range(NUM_STAGES)
            for block in range(_count(format, shapes, f"stage{stage}_block{{}}/depthwise/bias"))
        )
        keys = (format.key(weight.format(*place)) for place in places if format.has(weight))
        return sum(key in shapes for key in keys)

    num_with_grn, num_with_scale = count(_GRN), count(_LAYER_SCALE)
    if num_with_grn and num_with_scale:
        return (
            f"GRN is in {num_with_grn} of its blocks and a layer scale in {num_with_scale}; in all "
            "blocks ConvNeXt V2 has the one alone, V1 the other"
        )
    if num_with_scale or not format.has(_GRN):
        return FIRST_VERSION_BLOCK
    return PAPER_BLOCK


def read_sizes(format, shapes, block=PAPER_BLOCK):
    """The `Sizes` of the model whose weights a checkpoint holds.

    Args:
        format: a `Format`.
        shapes: {key without prefix: shape} of the checkpoint.
        block: the `BlockSpec` of its blocks.

    Returns:
        Sizes, or a string that says why there are none.
    """

    def size(weight, letter):
        if not format.has(weight):
            return None
        return format.layout(weight).measure(shapes.get(format.key(weight), ())).get(letter)

    def count(weight):
        return _count(format, shapes, weight)

    depths = [count(f"stage{stage}_block{{}}/depthwise/bias") for stage in range(NUM_STAGES)]
    widths = [size(f"stage{stage}_block0/depthwise/bias", "c") for stage in range(NUM_STAGES)]
    stem = [size("stem/conv/kernel", letter) for letter in "hi"]
    if None in widths or None in stem or 0 in (*depths, *widths, *stem):
        return "its stem or the first block of a stage is missing or has another rank"
    num_classes = size("head/bias", "c")
    if num_classes is None:
        num_classes = size("head/kernel", "o")
    decoder = None
    if size("decoder/mask_token", "c") is not None:
        decoder = Decoder(
            width=size("decoder/mask_token", "c"),
            depth=count("decoder/block{}/depthwise/bias"),
            num_values=size("decoder/predict_pixels/kernel", "o"),
        )
        if not all(dataclasses.astuple(decoder)):
            return "its decoder has a mask token, but no block or no layer that predicts pixels"
    if num_classes == 0:
        return "its head has no classes"
    return Sizes(
        variant=Variant(tuple(depths), tuple(widths), block),
        stem_stride=stem[0],
        channels=stem[1],
        num_classes=num_classes,
        decoder=decoder,
    )


def _count(format, shapes, weight):
    """How many there are in a row of a weight whose name has a "{}"."""
    number = 0
    while format.has(weight) and format.key(weight.format(number)) in shapes:
        number += 1
    return number
