"""A model with channels replaced by their means: what they are needed for.

Means are over images and positions. Source of the idea: diffused redundancy (arXiv 2306.00183)
measures what a part of the features tells; here the model itself computes without the others.
"""

import dataclasses
import itertools

import keras
import numpy as np

from keras_convnextv2.analysis.block_features import BlockFeatures
from keras_convnextv2.analysis.changed_blocks import (
    AblatedGRN,
    AblatedResponse,
    BlockWithResponse,
    KeptChannels,
    is_grn,
)
from keras_convnextv2.analysis.features import each_output
from keras_convnextv2.layers import ops
from keras_convnextv2.layers.regions import WholeMap
from keras_convnextv2.models import ConvNeXtV2Classifier
from keras_convnextv2.models.classifier import make_head

PLACES = ("response", "output")
RELATIVE = ("frozen", "recomputed", "mean")


@dataclasses.dataclass(frozen=True)
class Ablation:
    """What is changed in the blocks of a `MeanAblation`.

    Args:
        removed: {block's name: ints, channels that are replaced by their means}; of a block that is
            not named, none.
        relative: str, what N of GRN is (how strong each channel is beside the others): "frozen",
            that of the features before anything was removed; "recomputed", that of features of
            which the removed channels are at their means; or "mean", the mean of N over the images,
            the same for every image. Of another response than GRN, "frozen" and "recomputed" say
            the same of whatever it computes.

    Raises:
        ValueError: another `relative`.

    Examples:
        >>> from keras_convnextv2.analysis import Ablation
        >>> Ablation({"stage3_block0": [0, 5]}).relative
        'frozen'
    """

    removed: dict = dataclasses.field(default_factory=dict)
    relative: str = "frozen"

    def __post_init__(self):
        if self.relative not in RELATIVE:
            raise ValueError(
                f"`relative` must be one of {', '.join(RELATIVE)}. Received: {self.relative!r}"
            )


class MeanAblation:
    """What a model computes when channels inside its blocks are replaced by their means.

    The model stays as it is, and its layers are used, not copied. Nothing is hidden of the images.
    What comes before the first change is computed once for all ablations.

    At "response", the 4C channels in which GRN works, a removed channel is its mean response in
    every image, so that nothing of it reaches the rest of the block. GRN divides by the mean of all
    channels' norms: removing one changes the others. `Ablation.relative` says whether it does.

    Args:
        model: as of `BlockFeatures`.
        names: block names, as there.
        batches: as of `compute_features`, of the images that the means are taken over.
        where: "response", or "output": the block's own C channels.

    Attributes:
        names: tuple of str, in the order of depth.
        num_channels: {name: int}.

    Raises:
        ValueError: as `BlockFeatures`; or another `where`.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> from keras_convnextv2.analysis import Ablation, MeanAblation
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(small, (64, 64, 3)), 2)
        >>> images = np.random.default_rng(0).normal(size=(5, 64, 64, 3)).astype("float32")
        >>> ablation = MeanAblation(model, ["stage3_block0"], [(images,)])
        >>> changes = [Ablation(), Ablation({"stage3_block0": range(128)}, "recomputed")]
        >>> whole, half = ablation.outputs([(images,)], changes)
        >>> {name: array.shape for name, array in half.items()}
        {'features': (5, 64), 'logits': (5, 2)}
        >>> bool(np.allclose(whole["logits"], model.predict(images, verbose=0), atol=1e-6))
        True
    """

    def __init__(self, model, names, batches, where="response"):
        if where not in PLACES:
            raise ValueError(f"`where` must be one of {', '.join(PLACES)}. Received: {where!r}")
        found = BlockFeatures(model, names, where)
        self.names, self.where = found.names, where
        means = _means(found, batches)
        self.num_channels = {name: len(values) for name, values in means.items()}
        backbone = getattr(model, "backbone", model)
        layers = list(itertools.chain(*backbone.layers_of_stages()))
        self._blocks = {layer.name: layer for layer in layers if layer.name in self.names}
        if where == "response":
            inside = _means_before(BlockFeatures(model, names, "gelu"), self._blocks, batches)
            changed = {
                name: _ablated(self._blocks[name].response, *inside[name], after=means[name])
                for name in self.names
            }
            steps = [
                BlockWithResponse(layer, changed[layer.name]) if layer.name in changed else layer
                for layer in layers
            ]
        else:
            changed = {
                name: KeptChannels(values, dtype=self._blocks[name].dtype_policy)
                for name, values in means.items()
            }
            pairs = ((layer, changed.get(layer.name)) for layer in layers)
            steps = [step for pair in pairs for step in pair if step is not None]
        first = next(place for place, step in enumerate(steps) if step not in layers)
        self._changed = changed
        self._before, self._rest = _Chain(steps[:first]), _Rest(steps[first:], _head_of(model))

    def outputs(self, batches, ablations, on_batch=None):
        """What the model gives under each of several ablations.

        Args:
            batches: as of `compute_features`.
            ablations: list of `Ablation`.
            on_batch: optional function of (batches done, all batches).

        Returns:
            A dict an ablation: "features", float32 (N, d), the mean over positions of the last
            stage; and of a classifier "logits", (N, num_classes), its outputs.

        Raises:
            ValueError: blocks or channels that are not there; "recomputed" or "mean" where the
                place is "output"; "mean" of a block without GRN.
        """
        for ablation in ablations:
            self._check(ablation)
        found = [[] for _ in ablations]
        for features, _ in each_output(self._before, batches, on_batch):
            for parts, ablation in zip(found, ablations, strict=True):
                self._set(ablation)
                ((outputs, _),) = each_output(self._rest, [(features,)])
                parts.append(outputs)
        names = ("features", "logits")
        return [
            {
                name: np.concatenate(arrays).astype("float32")
                for name, *arrays in zip(names, *parts, strict=False)
            }
            for parts in found
        ]

    def _check(self, ablation):
        for name, channels in ablation.removed.items():
            if name not in self.names:
                raise ValueError(f"The blocks are {', '.join(self.names)}. Received: {name!r}")
            channels = np.asarray(channels)
            count = self.num_channels[name]
            if channels.size and not (
                channels.ndim == 1
                and channels.dtype.kind in "iu"
                and 0 <= channels.min() <= channels.max() < count
            ):
                raise ValueError(
                    f"Channels of {name} are ints from 0 to {count - 1}. Received: {channels!r}"
                )
        if ablation.relative != "frozen" and self.where == "output":
            raise ValueError(
                "N of GRN is that of a block's response; at its output nothing is frozen or not. "
                f"Received: relative={ablation.relative!r}"
            )
        others = [name for name in self.names if not is_grn(self._blocks[name].response)]
        if ablation.relative == "mean" and others:
            raise ValueError(f"There is no N of GRN in {', '.join(others)}, which has no GRN.")

    def _set(self, ablation):
        for name, layer in self._changed.items():
            removed = np.asarray(ablation.removed.get(name, ()), int)
            if self.where == "output":
                layer.keep_all_but(removed)
                continue
            layer.after.keep_all_but(removed)
            layer.before.keep_all_but(removed if ablation.relative == "recomputed" else ())
            if isinstance(layer, AblatedGRN):
                layer.is_fixed.assign(float(ablation.relative == "mean"))


def _means(features, batches):
    """{block: (channels,)} over images and positions."""
    found = features.measure(batches, {"mean": _over_positions})
    return {name: of_block["mean"].mean(axis=0) for name, of_block in found.items()}


def _means_before(features, blocks, batches):
    """{block: (mean after GELU, mean of GRN's N or None), each (channels,)}."""
    found = {}
    for name, block in blocks.items():
        of_block = {"mean": _over_positions}
        if is_grn(block.response):
            of_block["relative"] = _relative_by(block.response.epsilon)
        found[name] = of_block
    keys = {key: measure for of_block in found.values() for key, measure in of_block.items()}
    measured = features.measure(batches, keys)
    return {
        name: tuple(
            measured[name][key].mean(axis=0) if key in found[name] else None
            for key in ("mean", "relative")
        )
        for name in blocks
    }


def _over_positions(maps):
    return maps.mean(axis=(1, 2), dtype="float64")


def _relative_by(epsilon):
    def relative(maps):
        found = ops.relative_responses(keras.ops.convert_to_tensor(maps), epsilon, WholeMap())
        return keras.ops.convert_to_numpy(found)[:, 0, 0].astype("float64")

    return relative


def _ablated(response, before, relative, after):
    dtype = response.dtype_policy
    if relative is None:
        return AblatedResponse(response, before, after, dtype=dtype)
    return AblatedGRN(response, before, after, relative, dtype=dtype)


def _head_of(model):
    """[pooling, or all layers of a classifier's head]"""
    is_classifier = isinstance(model, ConvNeXtV2Classifier)
    return model.layers_of_head() if is_classifier else make_head(1, dtype="float32")[:1]


class _Chain(keras.Model):
    """Layers one after the other, as one model of images."""

    def __init__(self, layers):
        super().__init__(name="before")
        self.chain = layers

    def call(self, x):
        for layer in self.chain:
            x = layer(x)
        return x


class _Rest(keras.Model):
    """Layers one after the other, then [the mean over positions, and what the head makes of it]."""

    def __init__(self, layers, head):
        super().__init__(name="rest")
        self.chain, self.head = layers, head

    def call(self, x):
        for layer in self.chain:
            x = layer(x)
        features = self.head[0](x)
        if len(self.head) == 1:
            return [features]
        outputs = features
        for layer in self.head[1:]:
            outputs = layer(outputs)
        return [features, outputs]
