import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.layers.seeds import derive_seed


def draw(layer, x):
    return keras.ops.convert_to_numpy(layer(x, training=True))


def kept(layer, num_images=200):
    """Which of a batch's images keep their branch."""
    return draw(layer, np.ones((num_images, 1), "float32"))[:, 0] > 0


def test_inference_is_the_identity(rng):
    x = rng.normal(size=(5, 2, 3, 4)).astype("float32")
    for options in ({}, {"training": False}):
        y = kc.StochasticDepth(0.9, seed=1)(x, **options)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(y), x)


def test_rate_zero_is_the_identity_in_training(rng):
    x = rng.normal(size=(5, 2, 3, 4)).astype("float32")
    np.testing.assert_array_equal(draw(kc.StochasticDepth(0.0), x), x)


def test_an_image_loses_all_of_its_branch_or_keeps_all_of_it_scaled(rng):
    x = rng.normal(size=(400, 2, 3)).astype("float32")
    y = draw(kc.StochasticDepth(0.3, seed=1), x)
    dropped = (y == 0).all(axis=(1, 2))
    assert 0 < dropped.sum() < len(x)
    # One float32 division.
    np.testing.assert_allclose(y[~dropped], x[~dropped] / 0.7, rtol=1e-6)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_the_expectation_is_the_input(rate):
    count = 10_000
    mean = draw(kc.StochasticDepth(rate, seed=3), np.ones((count, 1), "float32")).mean()
    # The mean of `count` draws of 1 / (1 - rate) or 0: five standard deviations.
    assert abs(mean - 1) < 5 * np.sqrt(rate / (1 - rate) / count)


def test_equal_seeds_draw_equally_and_others_differ():
    first, second, other = (kc.StochasticDepth(0.5, seed=seed) for seed in (4, 4, 5))
    drawn = kept(first)
    np.testing.assert_array_equal(drawn, kept(second))
    assert (drawn != kept(other)).any()
    assert (drawn != kept(first)).any()  # and a second draw is a new one


def test_what_is_dropped_follows_from_the_seed_on_every_backend():
    layer = kc.StochasticDepth(0.3, seed=1)
    np.testing.assert_array_equal(kept(layer, 12), [1, 1, 0, 0, 1, 1, 0, 1, 1, 1, 0, 0])
    np.testing.assert_array_equal(kept(layer, 12), [1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 1])


def test_the_blocks_of_a_backbone_drop_independently():
    backbone = kc.ConvNeXtV2Backbone(
        kc.Variant((1, 2, 2, 1), (2, 2, 2, 2)), (None, None, 3), drop_path_rate=0.5, seed=0
    )
    seeds = [layer.seed for layer in backbone.layers if isinstance(layer, kc.ConvNeXtV2Block)]
    layers = [kc.StochasticDepth(0.5, seed=seed) for seed in seeds]
    # Shifts up to the number of draws a run of neighbours would share on the torch backend.
    draws = np.array([[kept(layer) for _ in range(4)] for layer in layers])  # (layers, 4, images)
    for one in range(len(layers)):
        for other in range(one + 1, len(layers)):
            agreement = (draws[one][:, None] == draws[other][None]).mean(axis=-1)
            # 200 fair coins: mean .5, standard deviation .035.
            assert (abs(agreement - 0.5) < 5 * 0.036).all()


def test_derived_seeds_are_distinct_31_bit_numbers():
    seeds = [derive_seed(seed, f"block{i}") for seed in range(3) for i in range(50)]
    assert len(set(seeds)) == 150
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derive_seed(None, "block0") is None


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5])
def test_a_rate_outside_0_to_1_is_refused(rate):
    with pytest.raises(ValueError, match=f"at least 0 and less than 1. Received: {rate}"):
        kc.StochasticDepth(rate)


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5"])
def test_files_keep_the_number_of_draws(tmp_path, name):
    """A run that goes on draws what it would have drawn."""

    def make():
        depth = kc.StochasticDepth(0.5, seed=3, name="depth")
        return keras.Sequential([keras.Input((1,)), depth])

    model = make()
    drawn = [kept(model) for _ in range(3)]
    assert (drawn[1] != drawn[2]).any()
    stopped = make()
    kept(stopped), kept(stopped)
    if name.endswith(".keras"):
        stopped.save(tmp_path / name)
        loaded = keras.saving.load_model(tmp_path / name)
    else:
        stopped.save_weights(tmp_path / name)
        loaded = make()
        loaded.load_weights(tmp_path / name)
    np.testing.assert_array_equal(kept(loaded), drawn[2])


def test_weights_of_a_model_without_it_load_into_one_with_it(tmp_path, make_fcmae):
    plain, dropping = make_fcmae(), make_fcmae(drop_path_rate=0.3, weights_seed=1)
    plain.save_weights(tmp_path / "model.weights.h5")
    dropping.load_weights(tmp_path / "model.weights.h5")
    for one, other in zip(plain.get_weights(), dropping.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    dropping.save_weights(tmp_path / "model.weights.h5")
    plain.load_weights(tmp_path / "model.weights.h5")
