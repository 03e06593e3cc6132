"""A model has its weights after a `fit`, `evaluate` or `predict` that failed."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc

SIZES = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))


def make_backbone():
    return kc.ConvNeXtV2Backbone(SIZES, (16, 24, 3), stem_stride=1)


def make_classifier():
    model = kc.ConvNeXtV2Classifier(make_backbone(), 3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss)
    return model


def fails(call, *arguments, **options):
    with pytest.raises(Exception, match=".*"):  # each backend says it in its own way
        call(*arguments, **options)


def images(rng, channels=3):
    return rng.normal(size=(4, 16, 24, channels)).astype("float32")


@pytest.mark.parametrize("make", [make_backbone, make_classifier])
def test_a_predict_that_fails(make, rng):
    model = make()
    before = model.predict(images(rng), verbose=0)
    weights = model.get_weights()
    fails(model.predict, images(rng, channels=5), verbose=0)
    for weight, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert model.predict(images(rng), verbose=0).shape == before.shape


def test_a_fit_and_an_evaluate_that_fail(rng):
    model = make_classifier()
    weights = model.get_weights()
    fails(model.fit, images(rng, channels=5), np.arange(4) % 3, verbose=0)
    fails(model.evaluate, images(rng, channels=5), np.arange(4) % 3, verbose=0)
    for weight, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_a_fit_that_fails_in_a_later_step_keeps_what_was_trained(rng):
    model = make_classifier()
    weights = model.get_weights()

    def batches():
        for _ in range(3):  # some are fetched ahead of their step
            yield images(rng), np.arange(4) % 3
        raise OSError("the disk is gone")

    fails(model.fit, batches(), steps_per_epoch=4, verbose=0)
    moved = [np.abs(a - b).max() for a, b in zip(model.get_weights(), weights, strict=True)]
    assert np.isfinite(moved).all() and max(moved) > 0


def test_the_stages_outputs_are_predicted_and_trained_by_name(rng):
    backbone = make_backbone()
    pyramid = keras.Model(backbone.input, backbone.pyramid_outputs)
    outputs = pyramid.predict(images(rng), verbose=0)
    assert type(outputs) is dict and list(outputs) == ["P0", "P1", "P2", "P3"]
    assert outputs["P3"].shape == (4, 2, 3, 12)
    before = backbone.get_weights()
    pyramid.compile(optimizer="sgd", loss=dict.fromkeys(outputs, "mse"))
    zeros = {name: np.zeros_like(output) for name, output in outputs.items()}
    pyramid.fit(images(rng), zeros, verbose=0)
    moved = [np.abs(a - b).max() for a, b in zip(backbone.get_weights(), before, strict=True)]
    assert max(moved) > 0
