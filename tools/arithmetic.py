"""How many floating-point operations the convolutions and linear layers of a step take.

Counted from the shapes of a model's kernels rather than by a profiler, so that every contender of
tools.benchmark is measured against the same number. A multiply-add is two operations; what works
element by element is left out.
"""

import math
import re

CHANNELS = 3
STEM_STRIDE = 4
PATCH = 32
DECODER_WIDTH = 512
SMALLEST_WINDOW = 4  # positions a side of the patches that are convolved alone
PASSES_OF_TRAINING = 3  # forward, and a gradient for the input and one for the weights


def operations(task, variant, image_size, num_classes, visible_share=1.0):
    """Operations of one step for one image.

    Args:
        task: "inference", "finetune" or "pretrain"; "depthwise" or "depthwise_gradient" for one
            depthwise convolution of each stage alone.
        variant: a name of `VARIANTS`.
        image_size: pixels a side, a multiple of 32.
        num_classes: int, of the head; "pretrain" has a decoder instead.
        visible_share: the share of the patches that the encoder computes, less than 1 for
            `encoder_path="visible"`. Its depthwise convolutions run on the whole map where a
            patch has few positions.
    """
    import keras_convnextv2 as kc
    from keras_convnextv2.weights.sizes import Decoder, Sizes

    pretrain = task == "pretrain"
    sizes = Sizes(
        kc.VARIANTS[variant],
        STEM_STRIDE,
        CHANNELS,
        num_classes=num_classes if task in ("inference", "finetune") else None,
        decoder=Decoder(DECODER_WIDTH, 1, PATCH**2 * CHANNELS) if pretrain else None,
    )
    kernels = {name: shape for name, shape in sizes.shapes().items() if name.endswith("/kernel")}
    if task.startswith("depthwise"):
        alone = re.compile(r"stage._block0/depthwise/kernel")
        kernels = {name: shape for name, shape in kernels.items() if alone.fullmatch(name)}
    total = sum(
        math.prod(shape) * _positions(name, image_size, visible_share)
        for name, shape in kernels.items()
    )
    return 2 * total * (1 if task in ("inference", "depthwise") else PASSES_OF_TRAINING)


def _positions(name, image_size, visible_share):
    """At how many positions a kernel is used, each of its values once."""
    if name.startswith("head"):
        return 1
    if name.startswith("decoder"):
        return (image_size // PATCH) ** 2
    stage = int(re.search(r"stage(\d)|$", name)[1] or 0)  # the stem goes with the first
    stride = STEM_STRIDE * 2**stage
    on_map = name.endswith("depthwise/kernel") and PATCH // stride < SMALLEST_WINDOW
    return (image_size // stride) ** 2 * (1 if on_map else visible_share)
