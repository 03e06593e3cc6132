"""Watching whether the features of a training collapse, by fixed images without labels."""

from keras_convnextv2.analysis.block_features import BlockFeatures
from keras_convnextv2.analysis.collapse import collapse_by_block
from keras_convnextv2.analysis.features import compute_features, feature_model
from keras_convnextv2.analysis.representation_measures import representation_measures
from keras_convnextv2.analysis.watching import Watching

PREFIX = "measure_"


class WatchCollapse(Watching):
    """Adds measures of the features to an epoch's logs, of the same images each time.

    Of the features that probes see (`feature_model`), `representation_measures`: "measure_rankme",
    "measure_participation_ratio", "measure_collapse_deviation", and "measure_alpha_req", which is
    left out where there are too few directions for it. Of each stage, the mean over its blocks of
    `collapse_by_block`: "measure_cosine_distance_stage0" to "..._stage3" and
    "measure_shuffled_cosine_distance_stage0" to "..._stage3", after the response.

    Nothing is drawn: equal models give equal figures. They are measured before the first step too,
    in `before`. Put it before callbacks that write the logs.

    Args:
        model: a backbone, or an `FCMAE` or classifier of one; the model that is trained or a part
            of it.
        batches: of the same images each time, as of `compute_features`. All of them pass the
            backbone twice each time. RankMe depends on their number.
        every: int, epochs from one measurement to the next. The last epoch is always measured.

    Attributes:
        before: {name: float} before the first step.

    Raises:
        ValueError: `every` is no positive int.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> from keras_convnextv2.analysis import WatchCollapse
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> fcmae = kc.FCMAE(kc.ConvNeXtV2Backbone(small, (32, 32, 3), stem_stride=1))
        >>> images = np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype("float32")
        >>> watch = WatchCollapse(fcmae, [(images,)], every=5)  # fcmae.fit(..., callbacks=[watch])
        >>> figures = watch.measure()
        >>> len(figures), figures["measure_rankme"] > 1
        (12, True)
    """

    def __init__(self, model, batches, every=1):
        super().__init__(every)
        self.extractor = feature_model(model)
        self.block_features = BlockFeatures(model)
        self.batches = batches

    def measure(self):
        """{name: float} of the weights as they are now."""
        features = compute_features(self.extractor, self.batches).features
        found = {
            f"{PREFIX}{name}": value
            for name, value in representation_measures(features).items()
            if value is not None
        }
        by_block = collapse_by_block(self.block_features, self.batches)
        for key in ("cosine_distance", "shuffled_cosine_distance"):
            stages = {}
            for block, figures in by_block.items():
                stages.setdefault(block.partition("_")[0], []).append(figures[key])
            for stage, values in stages.items():
                found[f"{PREFIX}{key}_{stage}"] = sum(values) / len(values)
        return found
