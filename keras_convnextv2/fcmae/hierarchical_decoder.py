import keras

from keras_convnextv2.fcmae.decoder_sizes import check_sizes
from keras_convnextv2.fcmae.mask_tokens import with_mask_token
from keras_convnextv2.layers.initializers import weight_initializer
from keras_convnextv2.layers.pointwise import normalized
from keras_convnextv2.layers.response_variants.batch_normalization import MaskedBatchNormalization


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class HierarchicalDecoder(keras.layers.Layer):
    """SparK's decoder: every stage takes part, and the map grows to the size of the images.

    Each stage output is normalised (LayerNorm), gets a mask token of its own at its hidden
    positions, and is projected, by a linear layer at the last stage and a 3x3 convolution at the
    others. The map begins as that of the last stage. A doubling is a transposed convolution (4x4,
    stride 2), then `depth` times convolution 3x3, batch norm, ReLU6, convolution 3x3, batch norm,
    and halves the channels. Before each, what the stage of its size gave is added. In the end a
    linear layer maps each pixel to its values.

    Source: SparK (arXiv 2301.03580) and its code (MIT), where `depth` is 1, the width 768, and the
    normalisation of ConvNeXt's stages a LayerNorm, too. Here all kernels begin at std .02, and a
    stage whose size comes after the last doubling is added as well.

    Args:
        total_stride: int, pixels a side of a position of the last stage, a power of 2.
        channels: int, of the images.
        width: int, channels at the last stage, a multiple of `total_stride`.
        depth: int, pairs of convolutions at each size.

    Call arguments:
        features: list of the stage outputs, features of the region.
        region: of the last stage, one of `layers.regions`.
        training: bool, for batch norm.

    Returns:
        (B, H, W, channels), H and W those of the images.
    """

    def __init__(self, total_stride, channels, width=512, depth=1, **kwargs):
        super().__init__(**kwargs)
        num_doublings = total_stride.bit_length() - 1
        if total_stride != 2**num_doublings:
            raise ValueError(f"`total_stride` must be a power of 2. Received: {total_stride!r}")
        check_sizes(width, depth, total_stride)
        self.total_stride = total_stride
        self.channels = channels
        self.width = width
        self.depth = depth
        self.widths = [width // 2**level for level in range(num_doublings + 1)]

    def build(self, features_shape):
        shapes = list(reversed(features_shape))[: len(self.widths)]
        self._build_stages(shapes)
        _, height, width, _ = shapes[0]
        self._build_doublings(height, width)

    def _build_stages(self, shapes):
        self.norms, self.tokens, self.projections = [], [], []
        for level, (shape, size) in enumerate(zip(shapes, self.widths, strict=False)):
            norm = keras.layers.LayerNormalization(
                epsilon=1e-6, dtype=self.dtype_policy, name=f"norm{level}"
            )
            norm.build(shape)
            token = self.add_weight(
                shape=shape[-1:], initializer=weight_initializer(), name=f"mask_token{level}"
            )
            side = 3 if level else 1
            self.norms.append(norm)
            self.tokens.append(token)
            self.projections.append(self._convolution(shape, size, side, f"project{level}"))

    def _build_doublings(self, height, width):
        self.enlarge, self.convolutions, self.batch_norms = [], [], []
        for level, (size, half) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            layer = self._convolution(
                (None, height, width, size),
                size,
                4,
                f"enlarge{level}",
                keras.layers.Conv2DTranspose,
                strides=2,
            )
            self.enlarge.append(layer)
            height, width = height * 2, width * 2
            for pair in range(self.depth):
                first = half if pair else size
                for place, (before, after) in enumerate(((first, first), (first, half))):
                    name = f"{level}_{pair}_{place}"
                    shape = None, height, width, before
                    layer = self._convolution(shape, after, 3, f"conv{name}", use_bias=False)
                    norm = MaskedBatchNormalization(
                        dtype=self.dtype_policy, name=f"batch_norm{name}"
                    )
                    norm.build((None, height, width, after))
                    self.convolutions.append(layer)
                    self.batch_norms.append(norm)
        shape = None, height, width, self.widths[-1]
        self.predict_pixels = self._convolution(shape, self.channels, 1, "predict_pixels")

    def _convolution(self, shape, filters, side, name, kind=keras.layers.Conv2D, **options):
        """A new convolution, "same" padding, that is built for maps of a shape."""
        layer = kind(
            filters,
            side,
            padding="same",
            data_format="channels_last",
            kernel_initializer=weight_initializer(),
            dtype=self.dtype_policy,
            name=name,
            **options,
        )
        layer.build(shape)
        return layer

    def call(self, features, region, training=False):
        x = None
        for level in range(len(self.widths)):
            if level < len(self.projections):
                of_stage = self._dense(level, features[-1 - level], region)
                x = of_stage if x is None else x + of_stage
            if level < len(self.enlarge):
                x = self._doubled(level, x, training)
        return self.predict_pixels(x)

    def _dense(self, level, x, region):
        """What a stage gives, as a map of the decoder's channels."""
        x = normalized(self.norms[level], x)
        return self.projections[level](with_mask_token(x, region.at(x), self.tokens[level]))

    def _doubled(self, level, x, training):
        x = self.enlarge[level](x)
        per_level = 2 * self.depth
        for place in range(level * per_level, (level + 1) * per_level):
            x = self.batch_norms[place](self.convolutions[place](x), training=training)
            if place % 2 == 0:
                x = keras.ops.relu6(x)
        return x

    def compute_output_shape(self, features_shape):
        batch, height, width, _ = features_shape[-1]
        side = self.total_stride
        return batch, height * side, width * side, self.channels

    def get_config(self):
        return {
            **super().get_config(),
            "total_stride": self.total_stride,
            "channels": self.channels,
            "width": self.width,
            "depth": self.depth,
        }
