"""A small model of latent prediction, of non-square images (16, 24, 3) and patches of 8x8."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc


@pytest.fixture(scope="session")
def make_latent():
    """Keywords are those of LatentPrediction; `dtype` is that of its backbone."""

    def make(dtype=None, initial_seed=0, **options):
        keras.utils.set_random_seed(initial_seed)
        backbone = kc.ConvNeXtV2Backbone(
            kc.Variant((1, 1, 1, 1), (4, 6, 8, 12)),
            image_shape=(16, 24, 3),
            stem_stride=1,
            drop_path_rate=0.3,
            seed=0,
            dtype=dtype,
        )
        return kc.LatentPrediction(backbone, **options)

    return make


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(4).normal(size=(6, 16, 24, 3)).astype("float32")
