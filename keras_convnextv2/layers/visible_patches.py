"""Between the grid of an image's patches and its visible patches alone.

The visible patches of an image are kept as a strip: K patches of p x p positions, one below the
other, (B, K * p, p, C). What works on positions or on windows inside a patch (linear layers,
LayerNorm, stem, downsampling), and what sums over an image (GRN), runs on a strip as on a map.

A row of a patch, p positions, lies in one piece of memory in the map as in the strip. So moving
patches is copying such segments by their number, exact in every dtype and with static shapes. Every
segment has at most one place on the other side: the gradient is the copy the other way, where
that of a gather would be a scatter-add.

Only the depthwise convolution looks beyond a patch. It goes by the map, or by windows: each patch
with the positions around it, gathered from the strip one by one.
"""

import dataclasses
import functools
from typing import Any

import keras

from keras_convnextv2.layers.kernels import (
    Layout,
    computed_once,
    custom_gradient,
    gains_from_windows,
    reshape,
    take_rows,
    take_rows_or_zeros,
)


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where the segments of a strip belong, for feature maps of one size.

    No tuple, which Keras would take apart and check at every call of a layer.

    Attributes:
        to_strip: int32 (B, K * p), for each segment of the strip its number among the B * H * w
            segments of the map.
        to_map: int32 (B, H, w), for each segment of the map its number among the B * K * p
            segments of the strip, or B * K * p where hidden.
        windows: optional int32 (B * K, p + 2 * margin, p + 2 * margin), for each position of each
            patch and around it its number among the B * K * p * p positions of the strip, or
            B * K * p * p where it is hidden or not of the image.
    """

    to_strip: Any
    to_map: Any
    windows: Any = None


def place_visible(hidden, num_visible, side, margin=0):
    """The placement of the visible patches, in the order of the grid.

    Args:
        hidden: (B, h, w), 1 = hidden, with `num_visible` zeros for each image.
        num_visible: int, K.
        side: int, p, positions a side of a patch in the feature map.
        margin: int, how far around a patch a convolution will look; 0 for none. Where windows are
            the faster way to it, the placement holds them.
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
    to_map = ops.reshape(to_map, (-1, rows * side, columns))
    windows = None
    if margin and gains_from_windows(side, hidden):
        visible = order[:, :num_visible]
        windows = computed_once(_number_windows(to_map, visible, side, margin))
    return Placement(
        computed_once(ops.reshape(to_strip, (-1, num_visible * side))),
        computed_once(to_map),
        windows,
    )


def _number_windows(to_map, visible, side, margin):
    """As `Placement.windows`, for the numbers of the visible cells (B, K)."""
    ops = keras.ops
    batch, num_visible = ops.shape(visible)
    height, columns = to_map.shape[1:]
    nowhere = batch * num_visible * side * side
    column = ops.arange(side, dtype="int32")
    numbers = ops.minimum(ops.expand_dims(to_map, -1) * side + column, nowhere)

    visible = ops.reshape(ops.cast(visible, "int32"), (-1, 1))  # (B * K, 1)
    image = ops.arange(batch * num_visible, dtype="int32") // num_visible
    around = ops.arange(side + 2 * margin, dtype="int32") - margin
    rows, row_is_inside = _within(visible // columns * side + around, height)
    places, column_is_inside = _within(visible % columns * side + around, columns * side)
    rows = ops.reshape(image, (-1, 1)) * height + rows  # of B * H
    places = ops.expand_dims(rows * (columns * side), 2) + ops.expand_dims(places, 1)
    is_inside = ops.logical_and(
        ops.expand_dims(row_is_inside, 2), ops.expand_dims(column_is_inside, 1)
    )
    windows = ops.reshape(take_rows(ops.reshape(numbers, (-1, 1)), places), ops.shape(places))
    return ops.where(is_inside, windows, nowhere)


def _within(numbers, size):
    """The numbers from 0 to `size` - 1, others as the nearest, and which were such."""
    ops = keras.ops
    is_within = ops.logical_and(numbers >= 0, numbers < size)
    return ops.minimum(ops.maximum(numbers, 0), size - 1), is_within


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


def layout_of_strip(placement, side, kernel_size):
    """How a depthwise convolution finds the map of a strip, or windows of its kernel's size."""
    to_map = functools.partial(scatter_visible, placement=placement)
    from_map = functools.partial(gather_visible, placement=placement)
    windows = placement.windows
    is_empty = windows is not None and windows.shape[0] == 0  # there is nothing to arrange
    if windows is None or is_empty or windows.shape[1] != side + kernel_size - 1:
        return Layout(to_map, from_map)
    to_windows = functools.partial(_to_windows, numbers=windows)
    return Layout(to_map, from_map, to_windows)


def _to_windows(x, arrange=None, *, numbers):
    """See `kernels.Layout`."""
    numbers = numbers if arrange is None else arrange(numbers)
    windows = take_rows_or_zeros(reshape(x, (-1, x.shape[-1])), numbers)
    return reshape(windows, (*keras.ops.shape(numbers), x.shape[-1]))


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
    return take_rows_or_zeros(segments, placement.to_map)
