"""Keras's global settings change nothing of what a model computes, and are heeded where meant."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from tests.reference.compute import compute
from tests.reference.random_weights import randomize

SIZES = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))


def make_classifier(**options):
    backbone = kc.ConvNeXtV2Backbone(SIZES, (16, 24, 3), stem_stride=1, **options)
    return kc.ConvNeXtV2Classifier(backbone, 5)


@pytest.fixture
def channels_first():
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


def test_channels_first_elsewhere_changes_nothing_here(channels_first, rng):
    images = rng.normal(size=(2, 16, 24, 3)).astype("float32")
    models = []
    for data_format in ("channels_first", "channels_last"):
        keras.config.set_image_data_format(data_format)
        classifier = make_classifier()
        fcmae = kc.FCMAE(classifier.backbone, decoder_width=8)
        randomize(classifier, np.random.default_rng(0))
        randomize(fcmae.decoder, np.random.default_rng(1))
        hidden = np.eye(2, 3)[None].repeat(2, 0)
        logits, loss = compute(classifier, images), compute(fcmae.loss_on, images, hidden)
        models.append((logits, loss))
    assert models[0][0].shape == (2, 5)
    for first, last in zip(*models, strict=True):
        np.testing.assert_array_equal(first, last)


@pytest.mark.parametrize("make", [make_classifier, lambda **options: make_fcmae(**options)])
def test_under_mixed_float16_the_loss_is_scaled(make):
    model = make(dtype="mixed_float16")
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    model = make(dtype="mixed_bfloat16")
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    assert not isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)


def make_fcmae(**options):
    return kc.FCMAE(make_classifier(**options).backbone, decoder_width=8)


def test_gradients_too_small_for_float16_train_a_classifier(rng):
    model = make_classifier(dtype="mixed_float16")
    model.compile(
        optimizer=keras.optimizers.SGD(1e6),
        loss=lambda labels, logits: keras.ops.mean(logits) * 1e-6,
    )
    before = model.backbone.get_layer("stem").get_weights()
    images = rng.normal(size=(4, 16, 24, 3)).astype("float32")
    model.get_layer("head").kernel.assign(rng.normal(size=(12, 5)))
    model.fit(images, np.zeros(4), verbose=0)
    after = model.backbone.get_layer("stem").get_weights()
    assert all(np.isfinite(weight).all() for weight in after)
    assert np.abs(after[0] - before[0]).max() > 0
