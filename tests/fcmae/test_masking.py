import keras
import numpy as np
import pytest

from keras_convnextv2.fcmae.masking import (
    draw_noise,
    hide_all_but,
    num_visible_patches,
    stream_seed,
)
from tests.reference.hashed_noise import expected_noise


def expected_hidden(num_visible, noise):
    hidden = np.ones(noise.shape, "int32")
    for row, numbers in zip(hidden, noise, strict=True):
        row[np.argsort(numbers)[:num_visible]] = 0
    return hidden


def drawn(fcmae, batch_size, **options):
    return keras.ops.convert_to_numpy(fcmae.draw_hidden(batch_size, **options))


@pytest.mark.parametrize("seed, step, first_image", [(0, 0, 0), (7, 3, 5), (123456, 70_000, 9999)])
def test_noise_is_the_hash_of_seed_stream_step_image_and_patch(seed, step, first_image):
    with np.errstate(over="ignore"):
        expected = expected_noise(seed, "train", step, first_image, 4, 49)
    noise = draw_noise(stream_seed(seed, "train"), step, first_image, 4, 49)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(noise), expected)


@pytest.mark.parametrize("step", [0, 1, 12_345])
def test_a_models_masks_follow_from_seed_and_step_on_every_backend(make_fcmae, step):
    with np.errstate(over="ignore"):
        noise = expected_noise(3, "train", step, 0, 5, 6)
    hidden = drawn(make_fcmae(seed=3, mask_ratio=0.6), 5, step=step)
    np.testing.assert_array_equal(hidden, expected_hidden(2, noise).reshape(5, 2, 3))


@pytest.mark.parametrize(
    "num_patches, ratio, num_visible",
    [
        (49, 0.6, 19),
        (100, 0.8, 20),  # int(100 * (1 - .8)) is 19 in floating point
        (16, 0.6, 6),
        (6, 0.5, 3),
        (49, 0.75, 12),
        (196, 0.9, 19),
        (1000, 0.7, 300),
        (10, 0.1, 9),
        (144, 1 / 3, 96),
        (2, 0.5, 1),
    ],
)
def test_every_image_keeps_exactly_its_share(num_patches, ratio, num_visible):
    assert num_visible_patches(num_patches, ratio) == num_visible
    noise = draw_noise(stream_seed(0, "train"), 0, 0, 7, num_patches)
    hidden = keras.ops.convert_to_numpy(hide_all_but(num_visible, noise))
    assert set(np.unique(hidden)) == {0, 1}
    np.testing.assert_array_equal(hidden.sum(axis=1), num_patches - num_visible)


@pytest.mark.parametrize("ratio", [0.1, 0.2, 0.3, 0.6, 0.7, 0.8, 0.9])
def test_a_decimal_ratio_of_a_multiple_of_ten_is_exact(ratio):
    for num_patches in range(10, 1000, 10):
        expected = num_patches * (10 - round(10 * ratio)) // 10
        assert num_visible_patches(num_patches, ratio) == expected


def test_images_of_a_batch_have_masks_of_their_own():
    masks = keras.ops.convert_to_numpy(
        hide_all_but(19, draw_noise(stream_seed(0, "train"), 0, 0, 50, 49))
    )
    assert len(np.unique(masks, axis=0)) == 50


def test_equal_seeds_draw_equal_masks_and_all_else_draws_others(make_fcmae):
    options = {"mask_ratio": 0.5}
    fcmae, same, other = (make_fcmae(seed=seed, **options) for seed in (1, 1, 2))
    masks = drawn(fcmae, 40, step=4)
    np.testing.assert_array_equal(masks, drawn(same, 40, step=4))
    # Two masks with 3 of 6 hidden are equal by chance in 1 of 20 images; all 40 never.
    assert (masks != drawn(other, 40, step=4)).any(axis=(1, 2)).mean() > 0.7
    assert (masks != drawn(fcmae, 40, step=5)).any(axis=(1, 2)).mean() > 0.7


def test_an_images_mask_does_not_depend_on_the_batch_it_is_in():
    together = keras.ops.convert_to_numpy(draw_noise(stream_seed(0, "evaluate"), 0, 0, 8, 6))
    later = keras.ops.convert_to_numpy(draw_noise(stream_seed(0, "evaluate"), 0, 5, 3, 6))
    np.testing.assert_array_equal(together[5:], later)


def test_the_next_steps_mask_is_drawn_by_default(make_fcmae):
    fcmae = make_fcmae()
    np.testing.assert_array_equal(drawn(fcmae, 4), drawn(fcmae, 4, step=0))
    fcmae.step.assign(6)
    np.testing.assert_array_equal(drawn(fcmae, 4), drawn(fcmae, 4, step=6))


def test_patches_are_hidden_uniformly_and_in_pairs_independently():
    num_patches, num_visible = 16, 6
    noises = [draw_noise(stream_seed(0, "train"), step, 0, 250, num_patches) for step in range(16)]
    hidden = np.concatenate(
        [keras.ops.convert_to_numpy(hide_all_but(num_visible, noise)) for noise in noises]
    )
    count = len(hidden)  # 4000 masks
    share = 10 / 16
    # Binomial shares: five standard deviations, about .038.
    assert (abs(hidden.mean(axis=0) - share) < 5 * np.sqrt(share * (1 - share) / count)).all()
    pairs = hidden.T @ hidden / count
    pair_share = share * 9 / 15  # drawn without replacement
    bound = 5 * np.sqrt(pair_share * (1 - pair_share) / count)
    assert (abs(pairs - pair_share)[~np.eye(num_patches, dtype=bool)] < bound).all()


@pytest.mark.parametrize("ratio", [0, 1, -0.2, 1.5, True, float("nan")])
def test_a_ratio_outside_0_to_1_is_refused(ratio):
    with pytest.raises(ValueError, match="`mask_ratio` must be between 0 and 1.*Received: "):
        num_visible_patches(49, ratio)


@pytest.mark.parametrize("ratio, left", [(0.99, 0)])
def test_a_ratio_that_leaves_nothing_visible_is_refused(ratio, left):
    with pytest.raises(
        ValueError, match=rf"mask_ratio={ratio} leaves {left} of 6 patches visible.*Use another"
    ):
        num_visible_patches(6, ratio)
