"""Watching a pretraining by what its features tell of labelled images."""

from keras_convnextv2.analysis.features import compute_features, feature_model
from keras_convnextv2.analysis.nearest_neighbours import knn_probe
from keras_convnextv2.analysis.ridge import ridge_probe
from keras_convnextv2.analysis.watching import Watching


class WatchProbes(Watching):
    """Adds "probe_ridge" and "probe_knn" to an epoch's logs: accuracies on labelled images.

    The features are the global average pool and a LayerNorm without scale and shift
    (`feature_model`), of the images as they are, nothing hidden. Ridge regression in closed form
    and the vote of the nearest neighbours draw nothing, so that two equal models give equal
    figures. A masked autoencoder's features may have a low kNN and fine-tune well: read the trend.

    The features before the first step are measured too, in `before`: an image that cannot be read
    stops the run at once, not after an epoch. Put it before callbacks that write the logs.

    Args:
        model: a backbone, or an `FCMAE` or classifier of one; the model that is trained or a part
            of it.
        train: batches of labelled images, `ImageBatches` without shuffling.
        test: the same. The number of both
            bounds the costs: each time, all of them pass the backbone once.
        every: int, epochs from one measurement to the next. The last epoch is always measured.

    Attributes:
        before: {"probe_ridge": float, "probe_knn": float} before the first step.

    Raises:
        ValueError: `every` is no positive int, or batches have no labels.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> from keras_convnextv2.analysis import WatchProbes
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> fcmae = kc.FCMAE(kc.ConvNeXtV2Backbone(small, (32, 32, 3), stem_stride=1))
        >>> fcmae.compile()
        >>> images = np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype("float32")
        >>> labelled = [(images, np.arange(8) % 2)]
        >>> watch = WatchProbes(fcmae, train=labelled, test=labelled)
        >>> history = fcmae.fit(images, batch_size=4, verbose=0, callbacks=[watch])
        >>> sorted(history.history)
        ['gradient_norm', 'loss', 'probe_knn', 'probe_ridge']
    """

    def __init__(self, model, train, test, every=1):
        super().__init__(every)
        for name, batches in (("train", train), ("test", test)):
            if not getattr(batches, "labelled", True):
                raise ValueError(f"A probe needs labels. `{name}` was given batches without.")
        self.extractor = feature_model(model)
        self.train, self.test = train, test

    def measure(self):
        """{"probe_ridge": accuracy, "probe_knn": accuracy} of the weights as they are now."""
        train, test = (
            compute_features(self.extractor, batches).pair for batches in (self.train, self.test)
        )
        return {
            f"probe_{result.probe}": result.mean()
            for result in (ridge_probe(train, test), knn_probe(train, test))
        }
