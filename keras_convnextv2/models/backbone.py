import math

import keras

from keras_convnextv2.layers import ConvNeXtV2Block
from keras_convnextv2.layers.patch_convolution import PatchConvolution
from keras_convnextv2.layers.regions import WholeMap
from keras_convnextv2.layers.seeds import derive_seed
from keras_convnextv2.models.frozen_layers import freeze_again, frozen_layers
from keras_convnextv2.models.functional_model import FunctionalModel
from keras_convnextv2.models.normalisation import checked_normalisation
from keras_convnextv2.models.pixel_range import checked_pixel_range
from keras_convnextv2.models.quantization import quantization_config, quantize_again
from keras_convnextv2.models.variants import NUM_STAGES, resolve_variant


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class ConvNeXtV2Backbone(FunctionalModel):
    """ConvNeXt V2 without a head, as a functional model.

    Stem (convolution of `stem_stride`, LayerNorm), then four stages of `ConvNeXtV2Block`, with
    LayerNorm and a 2x2 convolution of stride 2 before the last three. Layers are named `stem`,
    `stage{i}_downsample` and `stage{i}_block{j}`, counted from 0. Source: arXiv 2301.00808.

    Args:
        variant: a name of `VARIANTS` or a `Variant`.
        image_shape: (height, width, channels); height and width may be None. They need not be
            equal, nor multiples of the total stride (what is left over at the edge is cut off).
        stem_stride: int, 4 as in the paper; 2 or 1 for small images.
        drop_path_rate: float in [0, 1), the stochastic depth of the last block; it grows
            linearly from 0 over all blocks.
        seed: optional int, for the stochastic depth.
        dtype: optional dtype policy or its name, such as "mixed_bfloat16".
        name: optional name of the model.
        trainable: bool.

    Input:
        images: (B, height, width, channels), float, normalised.

    Output:
        (B, height // total_stride, width // total_stride, widths[-1]).

    Attributes:
        total_stride: 8 * stem_stride, in pixels; the side of an FCMAE patch.
        pyramid_outputs: {"P2": ..., ...}, each stage's output, named by log2 of its stride.
        pyramid_level_inputs: {"P2": name, ...}, of the layer that makes each of these.
        licence: of the weights that `load_weights` or `from_preset` loaded, as "cc-by-nc-4.0",
            or None. `.keras` files keep it.
        training_image_size: of a backbone for images of any size, (height, width) of those that its
            weights were trained on, where what `load_weights` or `from_preset` read says it; else
            None. `.keras` files keep it.
        normalisation: (mean, std) of the images in 0..1 that the weights were trained on, a tuple
            of a float a channel each, or None where it is not known. `.keras` files keep it.
        pixel_range: (low, high), the stored values that became 0 and 255 in these images, where
            they have more than 8 bits; None for others. `.keras` files keep it.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> backbone = kc.ConvNeXtV2Backbone(small, image_shape=(64, 96, 3))
        >>> backbone.predict(np.zeros((2, 64, 96, 3), "float32"), verbose=0).shape
        (2, 2, 3, 64)
        >>> list(backbone.pyramid_outputs)
        ['P2', 'P3', 'P4', 'P5']
    """

    def __init__(
        self,
        variant="atto",
        image_shape=(224, 224, 3),
        stem_stride=4,
        drop_path_rate=0.0,
        seed=None,
        dtype=None,
        name=None,
        trainable=True,
    ):
        sizes = resolve_variant(variant)
        if stem_stride not in (1, 2, 4):
            raise ValueError(f"`stem_stride` must be 4, 2 or 1. Received: {stem_stride!r}")
        if not 0 <= drop_path_rate < 1:
            raise ValueError(
                f"`drop_path_rate` must be at least 0 and less than 1. Received: {drop_path_rate!r}"
            )
        total_stride = stem_stride * 2 ** (NUM_STAGES - 1)
        image_shape = _checked_image_shape(image_shape, total_stride)
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())

        layers = make_layers(sizes, stem_stride, drop_path_rate, seed, policy)
        inputs = keras.Input(image_shape, name="images")
        features = _connect(layers, sizes.depths, inputs)
        super().__init__(inputs=inputs, outputs=features[-1], name=name, trainable=trainable)

        self.dtype_policy = policy
        self.variant = sizes
        self.image_shape = image_shape
        self.stem_stride = stem_stride
        self.drop_path_rate = drop_path_rate
        self.seed = seed
        self.total_stride = total_stride
        self._stage_outputs = tuple(features)
        self.licence = None
        self.training_image_size = None
        self.normalisation = None
        self.pixel_range = None
        self._config_variant = variant

    @property
    def pyramid_outputs(self):
        return dict(zip(self._pyramid_levels(), self._stage_outputs, strict=True))

    @property
    def pyramid_level_inputs(self):
        # The same by layer, as tasks of keras-cv ask for it.
        last_blocks = [layers[-1].name for layers in self.layers_of_stages()]
        return dict(zip(self._pyramid_levels(), last_blocks, strict=True))

    def _pyramid_levels(self):
        first = int(math.log2(self.stem_stride))
        return [f"P{first + stage}" for stage in range(NUM_STAGES)]

    @property
    def normalisation(self):
        return self._normalisation

    @normalisation.setter
    def normalisation(self, normalisation):
        self._normalisation = checked_normalisation(normalisation, self.image_shape[-1])

    @property
    def pixel_range(self):
        return self._pixel_range

    @pixel_range.setter
    def pixel_range(self, pixel_range):
        self._pixel_range = checked_pixel_range(pixel_range)

    def layers_of_stages(self):
        """The layers of each stage in the order in which they run: what downsamples (of the first
        stage the stem), then its blocks."""
        firsts = ["stem", *(f"stage{stage}_downsample" for stage in range(1, NUM_STAGES))]
        return [
            [
                self.get_layer(first),
                *(self.get_layer(f"stage{stage}_block{block}") for block in range(depth)),
            ]
            for stage, (first, depth) in enumerate(zip(firsts, self.variant.depths, strict=True))
        ]

    def encode(self, images, region=None, training=False):
        """The stage outputs for images of which patches may be hidden.

        Runs this model's own layers on what `region` says is visible.

        Args:
            images: (B, height, width, channels).
            region: one of `layers.regions`: `MaskedMap(hidden)` computes the whole map with hidden
                positions absent, `VisibleStrip(hidden, K)` the K visible patches of each image
                alone, and both give the same. The whole map by default.
            training: bool, for stochastic depth.

        Returns:
            List of four stage outputs, features of `region`: maps, or strips (B, K * p, p, C) with
            p halving from each to the next. What they hold at hidden positions is not defined;
            `region.to_map(features)` has zeros there.
        """
        region = WholeMap() if region is None else region
        layers = {layer.name: layer for layer in self.layers}
        return _connect(layers, self.variant.depths, region.enter(images), region, training)

    def get_config(self):
        variant = self._config_variant
        if not isinstance(variant, str):
            variant = self.variant.get_config()
        of_some = {
            "quantization": quantization_config(self._linear_layers()),
            "frozen": frozen_layers(self.layers),
            "licence": self.licence,
            "training_image_size": list(self.training_image_size or ()),
            "pixel_range": list(self.pixel_range or ()),
        }
        return {
            **{name: value for name, value in of_some.items() if value},
            "normalisation": self.normalisation and list(map(list, self.normalisation)),
            "variant": variant,
            "image_shape": list(self.image_shape),
            "stem_stride": self.stem_stride,
            "drop_path_rate": self.drop_path_rate,
            "seed": self.seed,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        quantization, frozen = config.pop("quantization", {}), config.pop("frozen", [])
        licence, normalisation = config.pop("licence", None), config.pop("normalisation", None)
        training_image_size = config.pop("training_image_size", None)
        pixel_range = config.pop("pixel_range", None)
        backbone = cls(**config)
        backbone.pixel_range = pixel_range
        backbone.licence, backbone.normalisation = licence, normalisation
        backbone.training_image_size = training_image_size and tuple(training_image_size)
        quantize_again(backbone._linear_layers(), quantization)
        freeze_again(backbone.layers, frozen)
        return backbone

    def _linear_layers(self):
        return {
            f"{block.name}/{layer.name}": layer
            for block in self.layers
            if isinstance(block, ConvNeXtV2Block)
            for layer in (block.expand, block.project)
        }


def _checked_image_shape(image_shape, total_stride):
    shape = tuple(image_shape) if isinstance(image_shape, (tuple, list)) else ()
    if (
        len(shape) != 3
        or not all(size is None or (isinstance(size, int) and size > 0) for size in shape)
        or shape[-1] is None
    ):
        raise ValueError(
            "`image_shape` must be (height, width, channels), with height and width positive ints "
            f"or None and channels a positive int. Received: {image_shape!r}"
        )
    if any(size is not None and size < total_stride for size in shape[:2]):
        raise ValueError(
            f"Images must be at least as large as the total stride, {total_stride} pixels. "
            f"Received: image_shape={shape}. A smaller `stem_stride` gives a smaller total stride."
        )
    return shape


def make_layers(variant, stem_stride, drop_path_rate=0.0, seed=None, dtype=None):
    """All layers by name, in the order in which they run; arguments are the backbone's."""

    def convolution(width, stride):
        return PatchConvolution(width, stride, dtype=dtype, name="conv")

    def norm():
        return keras.layers.LayerNormalization(epsilon=1e-6, dtype=dtype, name="norm")

    layers = {"stem": [convolution(variant.widths[0], stem_stride), norm()]}
    blocks_before, last_block = 0, sum(variant.depths) - 1
    for stage, (depth, width) in enumerate(zip(variant.depths, variant.widths, strict=True)):
        if stage > 0:
            layers[f"stage{stage}_downsample"] = [norm(), convolution(width, 2)]
        for block in range(depth):
            name = f"stage{stage}_block{block}"
            layers[name] = ConvNeXtV2Block(
                width,
                drop_path_rate=drop_path_rate * (blocks_before + block) / max(last_block, 1),
                seed=derive_seed(seed, name),
                spec=variant.block,
                dtype=dtype,
                name=name,
            )
        blocks_before += depth
    return {
        name: keras.Sequential(layer, name=name) if isinstance(layer, list) else layer
        for name, layer in layers.items()
    }


def _connect(layers, depths, x, region=None, training=None):
    """The one wiring of the backbone: the output of each stage.

    `region` says where the features `x` are; None is the whole map, as the functional model has it.
    """
    features = []
    x = layers["stem"](x)
    for stage, depth in enumerate(depths):
        if stage > 0:
            x = layers[f"stage{stage}_downsample"](x)
        where = {} if region is None else {"region": region.at(x), "training": training}
        for block in range(depth):
            x = layers[f"stage{stage}_block{block}"](x, **where)
        features.append(x)
    return features
