"""Where the features of a batch of images are.

A layer that looks beyond one position asks its region: `masked_depthwise_conv` for neighbours, a
response for sums over an image. All else in a block works on each position alone. There are three
regions, and with the last two a block gives the same values at visible positions:

- `WholeMap`: features (B, H, W, C), nothing hidden. Fine-tuning, inference and export.
- `MaskedMap`: features (B, H, W, C) of which patches are hidden. What hidden positions hold is
  never read. Any mask will do.
- `VisibleStrip`: the K visible patches of each image, p x p positions each, one below the other:
  features (B, K * p, p, C). K is the same for all images, so every shape is known before a mask is.

A region is made from a mask of patches, `hidden` (B, h, w), 1 = hidden, and serves feature maps of
every size: `at(x)` gives the region for features of another size, such as those of the next stage.
"""

import copy

import keras

from keras_convnextv2.layers import ops
from keras_convnextv2.layers.fast import table


class Region:
    """What a layer asks; here as where nothing is hidden."""

    hidden = None  # (B, h, w), what is not 0 is hidden, where there is a mask

    def at(self, x):
        """The region for features `x`, whatever their size."""
        return self

    def enter(self, images):
        """A map (B, H, W, C) as features of this region."""
        return images

    def to_map(self, x):
        """Features of this region as a map (B, H, W, C), zero where hidden."""
        return self.clean(x)

    def hidden_positions(self, x):
        """Where a map `x` (B, H, W, C) is hidden: boolean (B, H, W, 1), or False for nowhere."""
        return False

    def clean(self, x):
        """`x` with zeros where it is hidden, whatever stood there, NaN too."""
        return x

    def sum(self, x):
        """The sum over the visible positions of each image, float32 (B, 1, 1, C)."""
        return keras.ops.sum(keras.ops.cast(self.clean(x), "float32"), axis=(1, 2), keepdims=True)

    def count(self, x):
        """The number of visible positions to divide a sum by, float32, () or (B, 1, 1, 1).

        It is 1 for an image that is all hidden, so that nothing is divided by 0.
        """
        _, height, width, _ = keras.ops.shape(x)
        return keras.ops.cast(height * width, "float32")

    def depthwise(self, x, kernel):
        """A depthwise convolution of stride 1, zeros beyond the edge and where hidden.

        Args:
            x: features of this region.
            kernel: (k, k, C, 1), k odd.
        """
        return ops.depthwise(self.clean(x), kernel)


class WholeMap(Region):
    """The whole map (B, H, W, C), of which nothing is hidden."""


class MaskedMap(Region):
    """The whole map (B, H, W, C), of which patches are hidden.

    Args:
        hidden: (B, h, w), any dtype, what is not 0 is hidden; h divides H and w divides W.

    Raises:
        ValueError: the mask is of another rank. Other methods raise where it is for another number
            of images, or its grid does not divide the feature map.
    """

    def __init__(self, hidden):
        _check_rank(hidden)
        self.hidden = hidden
        self._spread = None  # over the positions of features of one size, see `at`

    def at(self, x):
        region = MaskedMap(self.hidden)
        region._spread = self._hidden_at(x)
        return region

    def enter(self, images):
        return self.clean(images)

    def hidden_positions(self, x):
        return keras.ops.expand_dims(self._hidden_at(x), -1)

    def clean(self, x):
        # A selection rather than a product, so that a NaN or Inf is gone too.
        return keras.ops.where(self.hidden_positions(x), keras.ops.zeros((), x.dtype), x)

    def count(self, x):
        visible = keras.ops.logical_not(self._hidden_at(x))  # (B, H, W)
        counts = keras.ops.sum(keras.ops.cast(visible, "float32"), axis=(1, 2))
        return keras.ops.reshape(keras.ops.maximum(counts, 1.0), (-1, 1, 1, 1))

    def _hidden_at(self, x):
        """Boolean (B, H, W) for features (B, H, W, C)."""
        if self._spread is not None and self._spread.shape[1:3] == x.shape[1:3]:
            return self._spread
        check_batches(self.hidden, x)
        _check_grid(self.hidden, x)
        hidden = self.hidden
        for axis, (size, cells) in enumerate(zip(x.shape[1:3], hidden.shape[1:3], strict=True), 1):
            hidden = keras.ops.repeat(hidden, size // cells, axis) if size != cells else hidden
        return keras.ops.cast(hidden, "bool")


class VisibleStrip(Region):
    """The visible patches of each image alone, in the order of the grid: (B, K * p, p, C).

    Linear layers, LayerNorm, and convolutions within a patch (stem, downsampling) work on a strip
    as on a map, and a sum over an image is one over its strip: nothing of a strip is hidden. Only
    the depthwise convolution looks beyond a patch. It goes by the map and back, or by windows, each
    patch with what is around it.

    A row of a patch, p positions, lies in one piece of memory in the map as in the strip: to move
    patches is to copy such segments by their number. Numbers count within an image, so a batch that
    is spread over devices stays where it is. The order of the patches is found once, when the
    region is made.

    Args:
        hidden: (B, h, w), what is not 0 is hidden. Each image must have `num_visible` zeros; this
            is not looked at, since a compiled step could not.
        num_visible: int, K.
        kernel_size: int, of the depthwise convolution that may go by windows.

    Attributes:
        strip_numbers: int32 (B, K * p), the number of each segment of the strip among the H * w of
            the map. Numbers are there for features of one size, see `at`.
        map_numbers: int32 (B, H * w), the number of each segment of the map among the K * p of the
            strip, or K * p where it is hidden.
        windows: int32 (B, K * s * s), s = p + kernel_size - 1: the number of each position of each
            window among the K * p * p of the strip, or K * p * p where it is hidden or beyond the
            edge. `fast` alone reads them; None where the way by the map is taken.

    Raises:
        ValueError: the mask is of another rank, or K is not from 1 to h * w. `enter` raises where
            the mask is for another number of images, or its grid does not divide their size.
    """

    def __init__(self, hidden, num_visible, kernel_size=7):
        _check_rank(hidden)
        self.grid = rows, columns = tuple(hidden.shape[1:])
        if not 1 <= num_visible <= rows * columns:
            raise ValueError(
                f"`num_visible` must be from 1 to {rows * columns}, the patches of an image. "
                f"Received: {num_visible!r}"
            )
        self.hidden = hidden
        self.num_visible = num_visible
        self.kernel_size = kernel_size
        hidden = keras.ops.not_equal(keras.ops.reshape(hidden, (-1, rows * columns)), 0)
        hidden = keras.ops.cast(hidden, "int32")
        # No two cells rank the same: visible before hidden, then by their place.
        cell = keras.ops.arange(rows * columns, dtype="int32")
        order = keras.ops.argsort(hidden * (rows * columns) + cell, axis=1)
        self._cells = keras.ops.cast(order[:, :num_visible], "int32")  # (B, K)
        before = keras.ops.cast(keras.ops.cumsum(1 - hidden, axis=1) - 1, "int32")
        # Cells beyond the K are left out, so that masks that do not fit address nothing wrong.
        is_left_out = keras.ops.logical_or(hidden == 1, before >= num_visible)
        self._places = keras.ops.where(is_left_out, num_visible, before)  # (B, h * w), 0 to K
        self.side = self.windows = None

    def at(self, x):
        side = x.shape[2]
        if side == self.side:
            return self
        region = self._with_side(side)
        if table.takes_windows(side, self._cells):
            region.windows = ops.computed_once(region._number_windows())
        return region

    def enter(self, images):
        check_batches(self.hidden, images)
        _check_grid(self.hidden, images)
        images = keras.ops.convert_to_tensor(images)
        side = images.shape[2] // self.grid[1]
        region, channels = self._with_side(side), images.shape[3]
        segments = ops.reshape(images, (-1, images.shape[1] * self.grid[1], side * channels))
        strip = ops.move_rows(segments, region.strip_numbers, region.map_numbers)
        return ops.reshape(strip, (-1, self.num_visible * side, side, channels))

    def to_map(self, x):
        x = keras.ops.convert_to_tensor(x)
        side, channels = x.shape[2:]
        region = self._with_side(side)
        rows, columns = self.grid
        segments = ops.reshape(x, (-1, self.num_visible * side, side * channels))
        x = ops.move_rows(segments, region.map_numbers, region.strip_numbers)
        return ops.reshape(x, (-1, rows * side, columns * side, channels))

    def hidden_positions(self, x):
        return MaskedMap(self.hidden).hidden_positions(x)

    def depthwise(self, x, kernel):
        return ops.depthwise_on_strip(x, kernel, self.at(x))

    def has_windows_for(self, x, kernel):
        """Whether there are windows for a convolution of the strip `x` with `kernel`."""
        is_empty = x.shape[0] == 0  # there is nothing to arrange
        return self.windows is not None and kernel.shape[0] == self.kernel_size and not is_empty

    def _with_side(self, side):
        """This region with numbers for patches of p = `side` positions a side."""
        if side == self.side:
            return self
        region = copy.copy(self)
        region.side, region.windows = side, None
        region._number_segments()
        return region

    def _number_segments(self):
        (rows, columns), side = self.grid, self.side
        line = keras.ops.arange(side, dtype="int32")  # within a patch
        cells = keras.ops.expand_dims(self._cells, -1)
        row = cells // columns * side + line  # (B, K, p), of the map's H
        numbers = row * columns + cells % columns
        numbers = keras.ops.reshape(numbers, (-1, self.num_visible * side))
        self.strip_numbers = ops.computed_once(numbers)
        places = keras.ops.reshape(self._places, (-1, rows, 1, columns)) * side
        places = places + keras.ops.reshape(line, (-1, 1))  # (B, h, p, w)
        places = keras.ops.minimum(places, self.num_visible * side)
        numbers = keras.ops.reshape(places, (-1, rows * side * columns))
        self.map_numbers = ops.computed_once(numbers)

    def _number_windows(self):
        (rows, columns), side, margin = self.grid, self.side, self.kernel_size // 2
        nowhere = self.num_visible * side * side
        segments = keras.ops.expand_dims(self.map_numbers, -1)
        positions = segments * side + keras.ops.arange(side, dtype="int32")
        positions = keras.ops.minimum(positions, nowhere)  # (B, H * w, p), of the map's positions
        positions = keras.ops.reshape(positions, (-1, rows * side * columns * side, 1))

        around = keras.ops.arange(side + 2 * margin, dtype="int32") - margin
        cells = keras.ops.expand_dims(self._cells, -1)
        row, row_is_inside = _within(cells // columns * side + around, rows * side)  # (B, K, s)
        column, column_is_inside = _within(cells % columns * side + around, columns * side)
        places = keras.ops.expand_dims(row * (columns * side), 3) + keras.ops.expand_dims(column, 2)
        is_inside = keras.ops.logical_and(
            keras.ops.expand_dims(row_is_inside, 3), keras.ops.expand_dims(column_is_inside, 2)
        )
        shape = (-1, self.num_visible * (side + 2 * margin) ** 2)
        windows = ops.take_rows(positions, keras.ops.reshape(places, shape))[..., 0]
        return keras.ops.where(keras.ops.reshape(is_inside, shape), windows, nowhere)


def region_of(region, hidden):
    """The region that a layer's call arguments say: `region`, a mask `hidden`, or the whole map."""
    if hidden is not None:
        if region is not None:
            raise ValueError("Give `region` or `hidden`, not both.")
        return MaskedMap(hidden)
    return WholeMap() if region is None else region


def _check_rank(hidden):
    if len(hidden.shape) != 3:
        raise ValueError(
            f"`hidden` must have shape (batch, height, width), one value a patch, 1 = hidden. "
            f"Received shape {tuple(hidden.shape)}."
        )


def _check_grid(hidden, x):
    """Raises a ValueError unless the grid of a mask divides a map (B, H, W, C) of known size."""
    for size, cells in zip(x.shape[1:3], hidden.shape[1:3], strict=True):
        if size is None or cells is None:
            raise ValueError(
                f"A mask needs a feature map of known size. Received feature shape "
                f"{tuple(x.shape)} and `hidden` shape {tuple(hidden.shape)}."
            )
        if size % cells:
            raise ValueError(
                f"The grid of `hidden` must divide the feature map. Received `hidden` shape "
                f"{tuple(hidden.shape)} for feature shape {tuple(x.shape)}: {cells} does not "
                f"divide {size}."
            )


def check_batches(hidden, x):
    """Raises a ValueError if `hidden` is known to be for another number of images than `x`."""
    num_masks, num_images = hidden.shape[0], x.shape[0]
    if isinstance(num_masks, int) and isinstance(num_images, int) and num_masks != num_images:
        raise ValueError(
            f"`hidden` must have one mask for each image. Received {num_masks} masks for "
            f"{num_images} images."
        )


def _within(numbers, size):
    """The numbers from 0 to `size` - 1, others as the nearest, and which were such."""
    is_within = keras.ops.logical_and(numbers >= 0, numbers < size)
    return keras.ops.minimum(keras.ops.maximum(numbers, 0), size - 1), is_within
