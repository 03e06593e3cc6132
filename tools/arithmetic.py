"""What a step computes, keeps and sends, counted from the shapes of a model.

Operations are those of convolutions and linear layers, counted from the shapes of kernels rather
than by a profiler, so that every contender of tools.benchmark is measured against the same number.
A multiply-add is two operations; what works element by element is left out.
"""

import math
import re

CHANNELS = 3
STEM_STRIDE = 4
PATCH = 32
DECODER_WIDTH = 512
SMALLEST_WINDOW = 4  # positions a side of the patches that are convolved alone
PASSES_OF_TRAINING = 3  # forward, and a gradient for the input and one for the weights
FLOAT32 = 4  # bytes
WIDENED = 4  # channels within a block, over its own


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
    sizes = _sizes(variant, task, num_classes)
    kernels = {name: shape for name, shape in sizes.shapes().items() if name.endswith("/kernel")}
    if task.startswith("depthwise"):
        alone = re.compile(r"stage._block0/depthwise/kernel")
        kernels = {name: shape for name, shape in kernels.items() if alone.fullmatch(name)}
    total = sum(
        math.prod(shape) * _positions(name, image_size, visible_share)
        for name, shape in kernels.items()
    )
    return 2 * total * (1 if task in ("inference", "depthwise") else PASSES_OF_TRAINING)


def num_parameters(variant):
    """How many values the weights of pretraining have: the encoder's and the paper's decoder's."""
    return _sizes(variant, "pretrain").num_parameters()


def activation_values(variant, image_size, visible_share):
    """How many values of one image a pretraining step keeps for its gradients.

    A block of C channels, on a map of n positions of which v are visible, keeps what the gradients
    of its operations read:

        C n       the map that the depthwise convolution reads
        3 C v     what LayerNorm reads, its result before scale and shift, and what the first
                  linear layer reads
        3 (4C) v  what GELU, GRN and the second linear layer read

    To these 15 C v + C n come the visible pixels that the stem reads, and of the decoder, whose
    v is n, the width that its last layer reads and the P * P * 3 pixels that it predicts. Norms and
    convolutions between the stages are left out: a few hundredths.

    It is counted for the plain operations, in which each operation keeps what it reads, as on
    torch without a compiler. A compiler may keep less and compute it again, and the library's fast
    paths on a CPU do.

    Args:
        variant: a name of `VARIANTS`.
        image_size: pixels a side, a multiple of 32.
        visible_share: the share of the patches that is visible.
    """
    import keras_convnextv2 as kc

    sizes = kc.VARIANTS[variant]
    cells = (image_size // PATCH) ** 2
    total = CHANNELS * image_size**2 * visible_share
    for stage, (depth, width) in enumerate(zip(sizes.depths, sizes.widths, strict=True)):
        positions = (image_size // (STEM_STRIDE * 2**stage)) ** 2
        total += depth * _values_of_block(width, positions, positions * visible_share)
    total += _values_of_block(DECODER_WIDTH, cells, cells)
    return total + cells * (DECODER_WIDTH + PATCH**2 * CHANNELS)


def _values_of_block(width, positions, visible):
    return width * positions + 3 * width * visible + 3 * WIDENED * width * visible


def weight_bytes(parameters, averaged=False):
    """What a device keeps of `parameters` weights in training with AdamW, all in float32.

    The weights, their gradients and AdamW's two moments (arXiv 1711.05101), and with `averaged` an
    exponential moving average of the weights: 4 or 5 numbers each. Under data parallelism every
    device keeps all of them.
    """
    return FLOAT32 * parameters * (5 if averaged else 4)


def gradient_bytes_sent(parameters, num_devices):
    """What each device sends a step, so that all have the sum of the float32 gradients.

    A ring all-reduce sends every part of the gradients around once to add it up and once more to
    hand it out: 2 (n - 1) / n * 4 bytes * parameters, which is the least there is. Source:
    Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
    2009.
    """
    return 2 * (num_devices - 1) * FLOAT32 * parameters / num_devices


def _sizes(variant, task, num_classes=0):
    import keras_convnextv2 as kc
    from keras_convnextv2.weights.sizes import Decoder, Sizes

    return Sizes(
        kc.VARIANTS[variant],
        STEM_STRIDE,
        CHANNELS,
        num_classes=num_classes if task in ("inference", "finetune") else None,
        decoder=Decoder(DECODER_WIDTH, 1, PATCH**2 * CHANNELS) if task == "pretrain" else None,
    )


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
