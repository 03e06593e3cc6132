"""Between the grid of an image's patches and its visible patches alone.

The visible patches of an image are kept as a strip: K patches of p x p positions, one below the
other, (B, K * p, p, C). What works on positions or on windows inside a patch (linear layers,
LayerNorm, stem, downsampling), and what sums over an image (GRN), runs on a strip as on a map.

A placement says where they belong: (B, K, h, w), placement[b, k] being 1 at the cell of image b's
k-th visible patch and 0 elsewhere. Moving patches is a product with it. That is exact in
full precision (untested where a device rounds the factors, as TF32 does), since all but one term of
each sum are 0, has static shapes, and its gradient is a product too: no
scatter-add on any backend.
"""

import keras


def place_visible(hidden, num_visible):
    """The placement of the visible patches, in the order of the grid.

    Args:
        hidden: (B, h, w), 1 = hidden, with `num_visible` zeros for each image.
        num_visible: int, K.

    Returns:
        float32 (B, K, h, w).
    """
    ops = keras.ops
    rows, columns = hidden.shape[1:]
    num_cells = rows * columns
    hidden = ops.cast(ops.reshape(hidden, (-1, num_cells)), "int32")
    # No two cells rank the same: visible before hidden, then by their place.
    rank = hidden * num_cells + ops.expand_dims(ops.arange(num_cells, dtype="int32"), 0)
    cells = ops.argsort(rank, axis=1)[:, :num_visible]  # (B, K)
    return ops.reshape(ops.one_hot(cells, num_cells), (-1, num_visible, rows, columns))


def gather_visible(x, placement):
    """From a map (B, H, W, C) to the strip (B, K * p, p, C), p being H / h and W / w."""
    ops = keras.ops
    num_visible, rows, columns = placement.shape[1:]
    height, width, channels = x.shape[1:]
    side = height // rows
    x = ops.reshape(x, (-1, rows, side, columns, side, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (B, h, w, p, p, C)
    x = ops.reshape(x, (-1, rows * columns, side * side * channels))
    x = ops.matmul(_flat(placement, x), x)  # (B, K, p * p * C)
    return ops.reshape(x, (-1, num_visible * side, side, channels))


def scatter_visible(x, placement):
    """From a strip (B, K * p, p, C) to the map (B, h * p, w * p, C), zero where hidden."""
    ops = keras.ops
    num_visible, rows, columns = placement.shape[1:]
    side, channels = x.shape[2:]
    x = ops.reshape(x, (-1, num_visible, side * side * channels))
    x = ops.matmul(ops.transpose(_flat(placement, x), (0, 2, 1)), x)  # (B, h * w, p * p * C)
    x = ops.reshape(x, (-1, rows, columns, side, side, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (B, h, p, w, p, C)
    return ops.reshape(x, (-1, rows * side, columns * side, channels))


def _flat(placement, x):
    num_visible, rows, columns = placement.shape[1:]
    return keras.ops.cast(keras.ops.reshape(placement, (-1, num_visible, rows * columns)), x.dtype)
