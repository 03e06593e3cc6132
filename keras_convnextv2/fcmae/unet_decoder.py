import keras

from keras_convnextv2.fcmae.decoder_sizes import check_sizes
from keras_convnextv2.fcmae.mask_tokens import with_mask_token
from keras_convnextv2.fcmae.patches import unpatchify
from keras_convnextv2.layers import ConvNeXtV2Block
from keras_convnextv2.layers.initializers import weight_initializer
from keras_convnextv2.layers.pointwise import at_each_position, normalized

_NUM_DOUBLINGS = 3  # from the last stage to the first


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class UNetDecoder(keras.layers.Layer):
    """From the last stage up to the first, with or without what the stages between gave.

    A linear layer maps the last stage to `width` channels, one learned mask token stands at its
    hidden positions, and `depth` ConvNeXt V2 blocks follow. Then three times: LayerNorm, a linear
    layer to the four positions that one becomes, of half the channels; with `skips` that stage's
    output beside them, zero where it is hidden, and a linear layer of both; and `depth` blocks. In
    the end a linear layer maps each position of the first stage to its pixels.

    The paper compares such decoders (arXiv 2301.00808, table 1: 83.7 with skips, 83.5 without, and
    83.7 by one block), but does not say more of them; the parts here are ConvNeXt V2's own. The
    form is that of arXiv 1505.04597.

    Args:
        total_stride: int, pixels a side of a position of the last stage.
        channels: int, of the images.
        width: int, channels at the last stage, a multiple of 8.
        depth: int, blocks at each of the four sizes.
        skips: bool.

    Call arguments:
        features: list of the four stage outputs, features of the region.
        region: of the last stage, one of `layers.regions`.

    Returns:
        (B, H, W, S * S * channels), H and W those of the first stage, S its stride.
    """

    def __init__(self, total_stride, channels, width=512, depth=1, skips=True, **kwargs):
        super().__init__(**kwargs)
        check_sizes(width, depth, 2**_NUM_DOUBLINGS)
        self.total_stride = total_stride
        self.channels = channels
        self.width = width
        self.depth = depth
        self.skips = skips
        dtype = self.dtype_policy
        self.widths = [width // 2**level for level in range(_NUM_DOUBLINGS + 1)]

        def linear(size, name):
            return keras.layers.Dense(
                size, kernel_initializer=weight_initializer(), dtype=dtype, name=name
            )

        self.project = linear(width, "project")
        self.norms, self.enlarge, self.merge = [], [], []
        for level, size in enumerate(self.widths[1:], 1):
            norm = keras.layers.LayerNormalization(epsilon=1e-6, dtype=dtype, name=f"norm{level}")
            self.norms.append(norm)
            self.enlarge.append(linear(4 * size, f"enlarge{level}"))
            if skips:
                self.merge.append(linear(size, f"merge{level}"))
        self.blocks = [
            ConvNeXtV2Block(size, dtype=dtype, name=f"size{level}_block{index}")
            for level, size in enumerate(self.widths)
            for index in range(depth)
        ]
        values = (total_stride // 2**_NUM_DOUBLINGS) ** 2 * channels
        self.predict_pixels = linear(values, "predict_pixels")

    def build(self, features_shape):
        self.mask_token = self.add_weight(
            shape=(self.width,), initializer=weight_initializer(), name="mask_token"
        )
        self.project.build(features_shape[-1])
        for level, size in enumerate(self.widths):
            *place, channels = features_shape[-1 - level]
            if level > 0:
                before = (*features_shape[-level][:-1], self.widths[level - 1])
                self.norms[level - 1].build(before)
                self.enlarge[level - 1].build(before)
            if level > 0 and self.skips:
                self.merge[level - 1].build((*place, size + channels))
            for block in self._blocks_at(level):
                block.build((*place, size))
        self.predict_pixels.build((*features_shape[0][:-1], self.widths[-1]))

    def call(self, features, region):
        x = at_each_position(self.project, features[-1])
        x = with_mask_token(x, region, self.mask_token)
        for level in range(len(self.widths)):
            if level > 0:
                x = normalized(self.norms[level - 1], x)
                x = unpatchify(at_each_position(self.enlarge[level - 1], x), 2)
            if level > 0 and self.skips:
                skip = features[-1 - level]
                skip = region.at(skip).to_map(skip)
                x = keras.ops.concatenate([x, skip], axis=-1)
                x = at_each_position(self.merge[level - 1], x)
            for block in self._blocks_at(level):
                x = block(x)
        return at_each_position(self.predict_pixels, x)

    def _blocks_at(self, level):
        return self.blocks[level * self.depth : (level + 1) * self.depth]

    def compute_output_shape(self, features_shape):
        return (*features_shape[0][:-1], self.predict_pixels.units)

    def get_config(self):
        return {
            **super().get_config(),
            "total_stride": self.total_stride,
            "channels": self.channels,
            "width": self.width,
            "depth": self.depth,
            "skips": self.skips,
        }
