"""Masks of blocks of patches with a fixed number visible, equal on every backend."""

import math

import keras

from keras_convnextv2.fcmae.masking import draw_noise, hide_all_but, stream_seed

# Of a block: its share of an image's patches, and its height over its width. Source: CNN-JEPA
# (arXiv 2408.07514), as in I-JEPA (arXiv 2301.08243).
_SHARES = (0.15, 0.2)
_ASPECTS = (0.75, 1.5)
_NUM_VALUES = 16  # of each of the two, evenly spread
_BITS = 30  # of the numbers that are drawn from the hash


class LatentMasks:
    """Draws masks: in a share of the batches of blocks, else of patches alone.

    Blocks are laid one after another, over one another too, until enough patches are hidden; of the
    last one the first rows are. An edge is none to them: what passes it goes on at the opposite
    one. So the number visible is fixed, and every patch is hidden equally often. Source of the two
    kinds: arXiv 2408.07514, where the number visible varies.

    All is drawn by a hash in integers, and so equal on all backends.

    Args:
        grid: (h, w), the patches of an image.
        num_visible: int, from 1 to h * w - 1.
        block_share: float in [0, 1], the share of blocks among the batches.
        seed: int.
        stream: str, what they are for: those of other streams are others.
    """

    def __init__(self, grid, num_visible, block_share, seed, stream):
        if isinstance(block_share, bool) or not 0 <= block_share <= 1:
            raise ValueError(f"`block_share` must be in [0, 1]. Received: {block_share!r}")
        self.grid = grid
        self.num_visible = num_visible
        self.block_share = block_share
        self.sizes = block_sizes(grid)
        # Twice as many as hide enough on average; what lacks then is hidden patch by patch.
        share_visible = num_visible / (grid[0] * grid[1])
        self.num_blocks = math.ceil(2 * math.log(share_visible) / math.log(1 - _SHARES[0]))
        self._patch_seed = stream_seed(seed, f"{stream}/patches")
        self._block_seed = stream_seed(seed, f"{stream}/blocks")
        self._kind_seed = stream_seed(seed, f"{stream}/kind")

    def draw(self, num_images, step=0, first_image=0, one_kind=True):
        """Masks of images.

        Args:
            num_images: int or scalar tensor, B.
            step: int or scalar tensor.
            first_image: int or scalar tensor, the index of the first image.
            one_kind: bool, whether all are of one kind, drawn by the step. Else each image has its
                own, and what is drawn for it does not depend on the batch it is in.

        Returns:
            int32 (B, h, w), 1 = hidden, with `num_visible` zeros in each.
        """
        ops, (rows, columns) = keras.ops, self.grid
        num_patches = rows * columns
        images = first_image, num_images
        noise = draw_noise(self._patch_seed, step, *images, num_patches)
        rank = ops.cast(ops.argsort(ops.argsort(noise, axis=1), axis=1), "int32")
        numbers = draw_noise(self._block_seed, step, *images, 3 * self.num_blocks)
        order = self._order_in_blocks(ops.reshape(numbers, (-1, self.num_blocks, 3)))
        nowhere = self.num_blocks * num_patches
        kind = draw_noise(self._kind_seed, step, *((0, 1) if one_kind else images), 1)
        is_of_blocks = _positive(kind) < int(self.block_share * 2**_BITS)  # (1, 1) or (B, 1)
        is_in_block = ops.logical_and(is_of_blocks, order < nowhere)
        order = ops.where(is_in_block, order, nowhere + rank)  # no two of an image are equal
        return ops.reshape(hide_all_but(self.num_visible, -order), (-1, rows, columns))

    def _order_in_blocks(self, numbers):
        """Which patches blocks hide first.

        Args:
            numbers: int32 (B, M, 3), of each block what its size and its first patch follow from.

        Returns:
            int32 (B, h * w): block by block, and within one row by row; M * h * w where none is.
        """
        ops, (rows, columns) = keras.ops, self.grid
        num_patches = rows * columns
        numbers = _positive(numbers)
        sizes = ops.take(
            ops.convert_to_tensor(self.sizes, "int32"), numbers[..., 0] % len(self.sizes), axis=0
        )  # (B, M, 2)
        row, is_in_row = _within_block(rows, numbers[..., 1:2], sizes[..., 0:1])  # (B, M, h)
        column, is_in_column = _within_block(columns, numbers[..., 2:3], sizes[..., 1:2])
        place = ops.expand_dims(row * columns, 3) + ops.expand_dims(column, 2)  # (B, M, h, w)
        covered = ops.logical_and(ops.expand_dims(is_in_row, 3), ops.expand_dims(is_in_column, 2))
        block = ops.reshape(ops.arange(self.num_blocks, dtype="int32"), (-1, 1, 1))
        nowhere = self.num_blocks * num_patches
        order = ops.where(covered, block * num_patches + place, nowhere)
        return ops.reshape(ops.min(order, axis=1), (-1, num_patches))


def block_sizes(grid):
    """The sizes that a block may have, each as likely: a list of [height, width] in patches.

    A table, since rounding on a device might differ from backend to backend.
    """
    rows, columns = grid
    sizes = []
    for share in _spread(*_SHARES):
        for aspect in _spread(*_ASPECTS):
            height, width = (
                max(round(math.sqrt(share * rows * columns * ratio)), 1)
                for ratio in (aspect, 1 / aspect)
            )
            sizes.append([min(height, rows), min(width, columns)])
    return sizes


def _spread(low, high):
    """The middles of `_NUM_VALUES` equal parts from `low` to `high`."""
    return [low + (high - low) * (index + 0.5) / _NUM_VALUES for index in range(_NUM_VALUES)]


def _within_block(num_lines, first, size):
    """Of each row or column its number in a block that may pass the edge, and whether it is in."""
    lines = keras.ops.arange(num_lines, dtype="int32")
    number = (lines + num_lines - first % num_lines) % num_lines
    return number, number < size


def _positive(numbers):
    return keras.ops.bitwise_and(numbers, 2**_BITS - 1)
