"""How many floating-point operations the convolutions and linear layers of a step take.

Counted by hand rather than by a profiler, so that every contender of tools.benchmark is measured
against the same number. A multiply-add is two operations; what works element by element is left
out.
"""

CHANNELS = 3
STEM_STRIDE = 4
KERNEL_AREA = 7 * 7
PATCH = 32
DECODER_WIDTH = 512
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
            `encoder_path="visible"`. Depthwise convolutions run on the whole map all the same.
    """
    import keras_convnextv2 as kc

    sizes = kc.VARIANTS[variant]
    if task.startswith("depthwise"):
        sides = (image_size // (STEM_STRIDE * 2**stage) for stage in range(len(sizes.widths)))
        total = sum(side**2 * width for side, width in zip(sides, sizes.widths, strict=True))
        passes = PASSES_OF_TRAINING if task.endswith("gradient") else 1
        return 2 * KERNEL_AREA * total * passes
    cells = (image_size // PATCH) ** 2
    total, before, window = 0.0, CHANNELS, STEM_STRIDE
    positions = (image_size // STEM_STRIDE) ** 2
    for depth, width in zip(sizes.depths, sizes.widths, strict=True):
        total += visible_share * positions * window**2 * before * width
        total += depth * _block(positions, width, visible_share)
        positions, before, window = positions // 4, width, 2
    if task == "pretrain":
        total += cells * before * DECODER_WIDTH + _block(cells, DECODER_WIDTH)
        total += cells * DECODER_WIDTH * PATCH**2 * CHANNELS
    else:
        total += before * num_classes
    return 2 * total * (1 if task == "inference" else PASSES_OF_TRAINING)


def _block(positions, width, visible_share=1.0):
    """Multiply-adds: the depthwise convolution, and the two linear layers to 4C and back."""
    return positions * (KERNEL_AREA * width + visible_share * 8 * width**2)
