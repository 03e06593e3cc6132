import keras
import numpy as np
import pytest

from keras_convnextv2.latent_prediction.masks import LatentMasks, block_sizes
from tests.reference.hashed_noise import expected_noise


def drawn(masks, *arguments, **options):
    return keras.ops.convert_to_numpy(masks.draw(*arguments, **options))


def expected_mask(masks, noise, numbers, is_of_blocks):
    """One mask (h, w), laid block by block and cell by cell."""
    rows, columns = masks.grid
    num_hidden = rows * columns - masks.num_visible
    hidden = np.zeros((rows, columns), "int32")
    sizes = block_sizes(masks.grid)
    numbers = numbers & (2**30 - 1)
    for which, top, left in numbers.reshape(-1, 3) if is_of_blocks else ():
        height, width = sizes[which % len(sizes)]
        for row in range(height):
            for column in range(width):
                if hidden.sum() < num_hidden:
                    hidden[(top + row) % rows, (left + column) % columns] = 1
    for cell in np.argsort(noise):
        if hidden.sum() < num_hidden:
            hidden[divmod(cell, columns)] = 1
    return hidden


@pytest.mark.parametrize("step", [0, 1, 2, 12_345])
def test_masks_follow_from_seed_step_and_place_on_every_backend(step):
    masks = LatentMasks((5, 7), 14, 0.5, seed=3, stream="train")
    with np.errstate(over="ignore"):
        noise = expected_noise(3, "train/patches", step, 2, 4, 35)
        numbers = expected_noise(3, "train/blocks", step, 2, 4, 3 * masks.num_blocks)
        kind = expected_noise(3, "train/kind", step, 0, 1, 1)[0, 0] & (2**30 - 1)
        kinds = expected_noise(3, "train/kind", step, 2, 4, 1)[:, 0] & (2**30 - 1)
    for one_kind, chosen in ((True, [kind] * 4), (False, kinds)):
        expected = [
            expected_mask(masks, *of_image, is_of_blocks=number < 2**29)
            for *of_image, number in zip(noise, numbers, chosen, strict=True)
        ]
        hidden = drawn(masks, 4, step, first_image=2, one_kind=one_kind)
        np.testing.assert_array_equal(hidden, expected)


@pytest.mark.parametrize("block_share", [0.0, 0.75, 1.0])
def test_every_patch_is_hidden_equally_often_and_as_many_in_each_image(block_share):
    num_images, grid, num_visible = 5000, (4, 6), 9
    masks = LatentMasks(grid, num_visible, block_share, seed=1, stream="train")
    hidden = drawn(masks, num_images, one_kind=False)
    assert hidden.shape == (num_images, *grid) and set(np.unique(hidden)) == {0, 1}
    np.testing.assert_array_equal((hidden == 0).sum(axis=(1, 2)), num_visible)
    share = 1 - num_visible / 24
    # Five standard deviations of a mean of independent draws: 24 patches pass but for one seed in
    # 70,000. The last row and the last column are among them.
    bound = 5 * np.sqrt(share * (1 - share) / num_images)
    np.testing.assert_allclose(hidden.mean(axis=0), share, rtol=0, atol=bound)


def test_the_share_of_blocks_is_that_of_images_in_evaluation_and_of_batches_in_training():
    of_both, of_blocks, of_patches = (
        LatentMasks((6, 6), 14, share, seed=2, stream="train") for share in (0.75, 1.0, 0.0)
    )
    both, blocks, patches = (
        drawn(masks, 3000, one_kind=False) for masks in (of_both, of_blocks, of_patches)
    )
    is_block = (both == blocks).all(axis=(1, 2))
    np.testing.assert_array_equal(both[~is_block], patches[~is_block])
    # Five standard deviations, as above.
    assert abs(is_block.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 3000)
    kinds = []
    for step in range(12):
        both = drawn(of_both, 5, step)
        is_block = np.array_equal(both, drawn(of_blocks, 5, step))
        assert is_block or np.array_equal(both, drawn(of_patches, 5, step))
        kinds.append(is_block)
    assert 0 < sum(kinds) < 12  # of this seed


def test_blocks_hide_neighbours():
    """Of two patches side by side, across the edge too, both are hidden more often than by chance.

    By chance it is n (n - 1) / (L (L - 1)) for n hidden of L.
    """
    rates = []
    for share in (0.0, 1.0):
        hidden = drawn(LatentMasks((7, 7), 19, share, 0, "train"), 2000, one_kind=False)
        rates.append((hidden * np.roll(hidden, 1, axis=2)).mean())
    chance = 30 * 29 / (49 * 48)
    assert abs(rates[0] - chance) < 0.005  # of 98,000 pairs: three standard deviations
    assert rates[1] > chance + 0.05


@pytest.mark.one_backend
def test_sizes_of_blocks_are_those_of_the_source():
    sizes = np.array(block_sizes((40, 60)), float)
    shares, aspects = sizes.prod(axis=1) / 2400, sizes[:, 0] / sizes[:, 1]
    # Rounding of sides of about 20 patches changes an area or an aspect by at most 1/20.
    assert 0.15 * 0.95 <= shares.min() < 0.16 and 0.19 < shares.max() <= 0.2 * 1.05
    assert 0.75 * 0.95 <= aspects.min() < 0.8 and 1.4 < aspects.max() <= 1.5 * 1.05
    assert (
        np.array(block_sizes((1, 3))).min() == 1 and np.array(block_sizes((1, 9)))[:, 0].max() == 1
    )


@pytest.mark.one_backend
@pytest.mark.parametrize("share", [-0.1, 1.1, True])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=r"`block_share` must be in \[0, 1\]. Received"):
        LatentMasks((4, 4), 6, share, 0, "train")
