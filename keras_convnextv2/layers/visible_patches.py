"""Between the grid of an image's patches and its visible patches alone.

The visible patches of an image are kept as a strip: K patches of p x p positions, one below the
other, (B, K * p, p, C). What works on positions or on windows inside a patch (linear layers,
LayerNorm, stem, downsampling), and what sums over an image (GRN), runs on a strip as on a map.

A row of a patch, p positions, lies in one piece of memory in the map as in the strip. So moving
patches is copying such segments by their number, exact in every dtype and with static shapes. Every
segment has at most one place on the other side: the gradient is the copy the other way, where
that of a gather would be a scatter-add.
"""

from typing import Any, NamedTuple

import keras

from keras_convnextv2.layers.kernels import computed_once, custom_gradient, reshape, take_rows


class Placement(NamedTuple):
    """Where the segments of a strip belong, for feature maps of one size.

    Attributes:
        to_strip: int32 (B, K * p), for each segment of the strip its number among the B * H * w
            segments of the map.
        to_map: int32 (B, H, w), for each segment of the map its number among the B * K * p
            segments of the strip, or B * K * p where hidden.
    """

    to_strip: Any
    to_map: Any


def place_visible(hidden, num_visible, side):
    """The placement of the visible patches, in the order of the grid.

    Args:
        hidden: (B, h, w), 1 = hidden, with `num_visible` zeros for each image.
        num_visible: int, K.
        side: int, p, positions a side of a patch in the feature map.
    """
    ops = keras.ops
    rows, columns = hidden.shape[1:]
    hidden = ops.cast(ops.reshape(hidden, (-1, rows * columns)), "int32")
    batch = ops.shape(hidden)[0]
    image = ops.reshape(ops.arange(batch, dtype="int32"), (-1, 1, 1))
    line = ops.arange(side, dtype="int32")  # within a patch

    # No two cells rank the same: visible before hidden, then by their place.
    cell = ops.arange(rows * columns, dtype="int32")
    order = ops.argsort(hidden * (rows * columns) + cell, axis=1)
    visible = ops.expand_dims(ops.cast(order[:, :num_visible], "int32"), -1)  # (B, K, 1)
    row = (image * rows + visible // columns) * side + line  # (B, K, p), of B * H
    to_strip = row * columns + visible % columns

    before = ops.cumsum(1 - hidden, axis=1) - 1  # visible cells of the image before this one
    place = ops.reshape(image, (-1, 1)) * num_visible + ops.cast(before, "int32")
    place = ops.reshape(place, (-1, rows, 1, columns)) * side
    place = place + ops.reshape(line, (-1, 1))  # (B, h, p, w)
    # Cells beyond the K are left out, so that masks that do not fit address nothing wrong.
    is_left_out = ops.reshape(
        ops.logical_or(hidden == 1, before >= num_visible), (-1, rows, 1, columns)
    )
    to_map = ops.where(is_left_out, batch * (num_visible * side), place)
    return Placement(
        computed_once(ops.reshape(to_strip, (-1, num_visible * side))),
        computed_once(ops.reshape(to_map, (-1, rows * side, columns))),
    )


def gather_visible(x, placement):
    """From a map (B, H, W, C) to the strip (B, K * p, p, C), p being W / w."""
    x = keras.ops.convert_to_tensor(x)
    width, channels = x.shape[2:]
    length = placement.to_strip.shape[1]
    side = width // placement.to_map.shape[2]
    segments = reshape(x, (-1, side * channels))
    strip = _copy(segments, placement, _to_strip, _to_map)
    return reshape(strip, (-1, length, side, channels))


def scatter_visible(x, placement):
    """From the strip (B, K * p, p, C) to the map (B, H, W, C), zero at hidden patches."""
    x = keras.ops.convert_to_tensor(x)
    side, channels = x.shape[2:]
    height, columns = placement.to_map.shape[1:]
    segments = reshape(x, (-1, side * channels))
    x = _copy(segments, placement, _to_map, _to_strip)
    return reshape(x, (-1, height, columns * side, channels))


def _copy(segments, placement, move, move_back):
    """The segments (N, D) of one side as those of the other."""

    def forward(segments):
        return move(segments, placement), ()

    def gradient(upstream, *_):
        return (move_back(upstream, placement),)

    return custom_gradient(forward, gradient)(segments)


def _to_strip(segments, placement):
    return take_rows(segments, placement.to_strip)


def _to_map(segments, placement):
    nothing = keras.ops.zeros((1, segments.shape[-1]), segments.dtype)
    segments = keras.ops.concatenate([segments, nothing])
    return take_rows(segments, placement.to_map)
