"""Feature collapse by depth: the measures of each block of a model."""

from keras_convnextv2.analysis.block_features import BlockFeatures
from keras_convnextv2.analysis.channel_distance import (
    channel_cosine_distance,
    shuffled_cosine_distance,
)
from keras_convnextv2.analysis.spectrum import participation_ratio, rankme


def collapse_by_block(model, batches, where="response", on_batch=None):
    """The paper's feature cosine distance of each block, beside what shuffled channels have.

    Each figure is the mean over the images. "rankme" and "participation_ratio" are of the maps'
    means over positions, (N, channels). Source: arXiv 2301.00808, section 3 and figure 4.

    Args:
        model: as of `BlockFeatures`, or a `BlockFeatures`.
        batches: as of `compute_features`.
        where: as of `BlockFeatures`; not used where `model` is one.
        on_batch: optional function of (batches done, all batches).

    Returns:
        {block: {"channels": int, "cosine_distance", "shuffled_cosine_distance", "rankme",
        "participation_ratio": floats}}, in the order of depth.

    Raises:
        ValueError: as `BlockFeatures` and `channel_cosine_distance`.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> from keras_convnextv2.analysis import collapse_by_block
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> backbone = kc.ConvNeXtV2Backbone(small, (32, 32, 3), stem_stride=1)
        >>> images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
        >>> found = collapse_by_block(backbone, [(images,)])
        >>> list(found)[-1], found["stage3_block0"]["channels"]
        ('stage3_block0', 256)
        >>> 0 < found["stage0_block0"]["cosine_distance"] < 0.5
        True
    """
    features = model if isinstance(model, BlockFeatures) else BlockFeatures(model, where=where)
    measures = {
        "cosine_distance": channel_cosine_distance,
        "shuffled_cosine_distance": shuffled_cosine_distance,
        "pooled": lambda maps: maps.mean(axis=(1, 2), dtype="float64"),
    }
    found = {}
    for name, of_block in features.measure(batches, measures, on_batch).items():
        pooled = of_block.pop("pooled")
        found[name] = {
            "channels": pooled.shape[1],
            **{key: float(values.mean()) for key, values in of_block.items()},
            "rankme": rankme(pooled),
            "participation_ratio": participation_ratio(pooled),
        }
    return found
