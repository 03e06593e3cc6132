"""A checkpoint format as a table, used in both directions."""

import dataclasses
import re
from collections.abc import Callable

from keras_convnextv2.models.variants import NUM_STAGES, PAPER_BLOCK, Variant
from keras_convnextv2.weights.sizes import Decoder, Sizes


@dataclasses.dataclass(frozen=True)
class Format:
    """How the weights are named and laid out in the checkpoints of one library.

    Args:
        name: as users write it.
        layers: {our layer: (their layer, {our weight: (their weight, layout)})}; "{}" stands for
            each number: "stage{}_block{}/norm".
        entry: where a PyTorch file of this format keeps the state dict, or None for a bare one.
        layers_for: optional function of `Sizes`, of which tables `layers` is one, where what is
            written depends on the size.
        write_config: optional function (Sizes, Description) to the `config.json` of a folder, or
            None where the library has no name for such a model.
        read_config: optional function of a folder's `config.json` to a `Description`, or None
            where it is another library's.
    """

    name: str
    layers: dict
    entry: str | None = "model"
    layers_for: Callable | None = None
    write_config: Callable | None = None
    read_config: Callable | None = None

    def has(self, weight):
        """Whether the format has a place for a weight."""
        layer, _, _ = weight.rpartition("/")
        return re.sub(r"\d+", "{}", layer) in self.layers

    def key(self, weight):
        """The name in a checkpoint of `stage0_block0/norm/gamma`."""
        return self._place(weight, self.layers)[0]

    def layout(self, weight, sizes=None):
        """The `Layout` of a weight, as models of these sizes are written."""
        layers = self.layers_for(sizes) if sizes and self.layers_for else self.layers
        return self._place(weight, layers)[1]

    def _place(self, weight, layers):
        layer, _, parameter = weight.rpartition("/")
        theirs, parameters = layers[re.sub(r"\d+", "{}", layer)]
        name, layout = parameters[parameter]
        return ".".join(filter(None, (theirs.format(*re.findall(r"\d+", layer)), name))), layout


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
        number = 0
        while format.has(weight) and format.key(weight.format(number)) in shapes:
            number += 1
        return number

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
