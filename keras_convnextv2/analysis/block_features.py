"""Features inside the blocks of any model, by the block's name."""

import itertools

import keras
import numpy as np

from keras_convnextv2.analysis.features import each_output
from keras_convnextv2.layers import ConvNeXtV2Block, ops
from keras_convnextv2.layers.regions import WholeMap
from keras_convnextv2.models import ConvNeXtV2Backbone

# Where in a block, and how pictures and tables say it.
PLACES = {
    "gelu": "after GELU",
    "response": "after the response",
    "output": "at the block's output",
}


class BlockFeatures:
    """What the blocks of a model hold for images of which nothing is hidden.

    The model stays as it is, and its weights are used, not copied: the features follow a training.
    Nothing after the last block that is asked for is computed. The maps of one batch are in memory
    at a time.

    Args:
        model: a `ConvNeXtV2Backbone`, or a `ConvNeXtV2Classifier` or an `FCMAE` of one; with blocks
            of any `BlockSpec`.
        names: optional block names, such as ["stage0_block0", "stage2_block5"]; all by default.
        where: "gelu", after the activation, (B, h, w, 4C); "response", after what follows it, GRN
            in the paper, of the same shape, and the same as "gelu" where a block has none; or
            "output", the block's own, (B, h, w, C).

    Attributes:
        names: tuple of str, the blocks in the order of depth, each once.
        where: str.

    Raises:
        ValueError: `model` is none of these, or has no block of such a name; or another `where`.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> from keras_convnextv2.analysis import BlockFeatures, channel_cosine_distance
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(small, (64, 96, 3)), 2)
        >>> features = BlockFeatures(model, names=["stage3_block0", "stage1_block0"])
        >>> images = np.random.default_rng(0).normal(size=(5, 64, 96, 3)).astype("float32")
        >>> {name: maps.shape for name, maps in features(images).items()}
        {'stage1_block0': (5, 8, 12, 64), 'stage3_block0': (5, 2, 3, 256)}
        >>> batches = [(images,), (images[:3],)]
        >>> measured = features.measure(batches, {"distance": channel_cosine_distance})
        >>> measured["stage1_block0"]["distance"].shape
        (8,)
    """

    def __init__(self, model, names=None, where="response"):
        backbone = getattr(model, "backbone", model)
        if not isinstance(backbone, ConvNeXtV2Backbone):
            raise ValueError(f"Blocks are those of a ConvNeXtV2Backbone. Received: {model!r}")
        if where not in PLACES:
            raise ValueError(f"`where` must be one of {', '.join(PLACES)}. Received: {where!r}")
        known = [layer.name for layer in _layers(backbone) if isinstance(layer, ConvNeXtV2Block)]
        wanted = known if names is None else list(names)
        unknown = [name for name in wanted if name not in known]
        if unknown or not wanted:
            raise ValueError(
                f"`names` must be blocks of the model, some of {', '.join(known)}. Received: "
                f"{', '.join(map(str, unknown)) or 'none'}"
            )
        self.names = tuple(name for name in known if name in wanted)
        self.where = where
        self._network = _Insides(backbone, self.names, where)

    def __call__(self, images):
        """The maps of images (B, H, W, C), normalised.

        Returns:
            {name: float32 (B, h, w, channels)}, NumPy arrays, in the order of depth.
        """
        ((maps, _),) = each_output(self._network, [(images,)])
        return dict(zip(self.names, maps, strict=True))

    def measure(self, batches, measures, on_batch=None):
        """What functions say of the maps of all images, a batch at a time.

        Args:
            batches: as of `compute_features`.
            measures: {key: function of maps (B, h, w, channels) to an array (B, ...)}.
            on_batch: optional function of (batches done, all batches).

        Returns:
            {name: {key: array (N, ...)}}, names in the order of depth.
        """
        found = {name: {key: [] for key in measures} for name in self.names}
        for maps, _ in each_output(self._network, batches, on_batch):
            for name, of_block in zip(self.names, maps, strict=True):
                for key, measure in measures.items():
                    found[name][key].append(measure(of_block))
        return {
            name: {key: np.concatenate(parts) for key, parts in of_block.items()}
            for name, of_block in found.items()
        }


class _Insides(keras.Model):
    """A model of images that gives a list of maps; it calls the layers of another one."""

    def __init__(self, backbone, names, where):
        super().__init__(name="insides")  # TensorFlow takes no name that begins with _
        self.backbone = backbone
        self.names, self.where = names, where

    def call(self, images):
        found, x = [], images
        for layer in _layers(self.backbone):
            before, x = x, layer(x)
            if layer.name in self.names:
                is_output = self.where == "output"
                maps = x if is_output else _inside(layer, before, self.where)
                found.append(keras.ops.cast(maps, "float32"))
                if len(found) == len(self.names):
                    break
        return found


def _inside(block, x, where):
    """The first part of a block: `ConvNeXtV2Block.call` up to its response."""
    y = ops.gelu(block.expand(block.norm(block.depthwise(x))))
    return y if where == "gelu" else block.response(y, region=WholeMap())


def _layers(backbone):
    return itertools.chain(*backbone.layers_of_stages())
