"""Layer-wise decay of the learning rate: the earlier a layer, the smaller its steps."""

import math

GROUPS = ("single", "group")
_NUM_GROUPS = 12  # between the stem and the head
_BLOCKS_A_GROUP = 3  # in the third stage


def layer_depths(model, groups="single"):
    """How deep in the network each layer of the backbone stands, and how deep its head.

    "single" gives each block a depth of its own, from 1; the stem counts with the first block, and
    what downsamples with the block after it. "group" gives depth 0 to the stem, 1 and 2 to the
    first two stages, from 3 on one to each three blocks of the third, and 12 to the fourth; what
    downsamples has 2, 3 and 12. The head stands one deeper than the last block. This is how the
    paper's models were fine-tuned: "group" base and large, "single" the others.

    Args:
        model: a `ConvNeXtV2Backbone`, or a model that has one as its `backbone`.
        groups: "single" or "group".

    Returns:
        ([(layer, depth), ...] of the backbone's layers in the order in which they run, the head's
        depth).

    Raises:
        ValueError: the layers of `model` are not known, `groups` is neither, or the third stage has
            more blocks than there are groups for.

    Examples:
        >>> import keras_convnextv2 as kc
        >>> from keras_convnextv2.training.layer_decay import layer_depths
        >>> small = kc.Variant(depths=(1, 2, 1, 1), widths=(8, 16, 32, 64))
        >>> depths, head = layer_depths(kc.ConvNeXtV2Backbone(small, image_shape=(64, 64, 3)))
        >>> [(layer.name, depth) for layer, depth in depths][:4]
        [('stem', 1), ('stage0_block0', 1), ('stage1_downsample', 2), ('stage1_block0', 2)]
        >>> head
        6
    """
    if groups not in GROUPS:
        raise ValueError(f"`layer_decay_groups` must be one of {GROUPS}. Received: {groups!r}")
    stages = _stages(model)
    if groups == "single":
        blocks_before, found = 0, []
        for first, *blocks in stages:
            found.append((first, blocks_before + 1))
            found += [(block, blocks_before + 1 + place) for place, block in enumerate(blocks)]
            blocks_before += len(blocks)
        return found, blocks_before + 1
    found = []
    for stage, (first, *blocks) in enumerate(stages):
        found.append((first, (0, 2, 3, _NUM_GROUPS)[stage]))
        found += [(block, _group(stage, place)) for place, block in enumerate(blocks)]
    deepest = max(depth for _, depth in found)
    if deepest > _NUM_GROUPS:
        raise ValueError(
            f"`layer_decay_groups='group'` has groups for {(_NUM_GROUPS - 2) * _BLOCKS_A_GROUP} "
            f"blocks of the third stage, three a group. Received: a model of {len(stages[2]) - 1}. "
            "Use 'single'."
        )
    return found, _NUM_GROUPS + 1


def rate_scales(model, decay, groups="single"):
    """The factor on the learning rate of each trainable weight of a model.

        scale = decay^(depth of the head - depth of the weight's layer)

    It is found by the layer that a weight belongs to. Weights that are not of the backbone belong
    to the head (the final norm, the classifier, FCMAE's decoder), and have 1. Source: the official
    code of arXiv 2301.00808.

    Args:
        model: as of `layer_depths`.
        decay: float in (0, 1].
        groups: as of `layer_depths`.

    Returns:
        A tuple of floats, in the order of `model.trainable_variables`.

    Raises:
        ValueError: as of `layer_depths`, or `decay` is not in (0, 1].
    """
    if not isinstance(decay, int | float) or not 0 < decay <= 1:
        raise ValueError(f"`layer_decay` must be in (0, 1]. Received: {decay!r}")
    depths, head = layer_depths(model, groups)
    of_weights = {id(weight): depth for layer, depth in depths for weight in layer.weights}
    return tuple(
        math.pow(decay, head - of_weights.get(id(weight), head))
        for weight in model.trainable_variables
    )


def _stages(model):
    backbone = getattr(model, "backbone", model)
    # Asked of the model itself: `models` imports this room.
    layers_of_stages = getattr(backbone, "layers_of_stages", None)
    if layers_of_stages is None:
        raise ValueError(
            "`layer_decay` is for a ConvNeXtV2Backbone, or a model that has one as its `backbone`: "
            f"the depths of other layers are not known. Received: {model!r}"
        )
    return layers_of_stages()


def _group(stage, block):
    return (1, 2, 3 + block // _BLOCKS_A_GROUP, _NUM_GROUPS)[stage]
