import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.insides import layers_within
from tests.reference.compute import compute
from tests.reference.random_weights import randomize


def make_backbone(**options):
    sizes = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
    return kc.ConvNeXtV2Backbone(sizes, (None, None, 3), stem_stride=1, **options)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_logits_are_pool_then_norm_then_linear(rng, scale):
    backbone = make_backbone()
    classifier = kc.ConvNeXtV2Classifier(backbone, 5)
    randomize(classifier, rng)
    # Features of a variance as small as the epsilon show it.
    last = backbone.get_layer("stage3_downsample").layers[-1], backbone.get_layer("stage3_block0")
    for layer in (last[0], last[1].project):
        layer.set_weights([scale * weight for weight in layer.get_weights()])
    images = rng.normal(size=(2, 16, 24, 3)).astype("float32")
    pooled = compute(backbone, images).astype("float64").mean(axis=(1, 2))
    gamma, beta = classifier.get_layer("norm").get_weights()
    normed = pooled - pooled.mean(axis=1, keepdims=True)
    normed = normed / np.sqrt(pooled.var(axis=1, keepdims=True) + 1e-6) * gamma + beta
    kernel, bias = classifier.get_layer("head").get_weights()
    logits = compute(classifier, images)
    # Float32 rounding of values near 1.
    np.testing.assert_allclose(logits, normed @ kernel + bias, atol=1e-5)


@pytest.mark.one_backend
def test_every_epsilon_is_that_of_the_official_code():
    classifier = kc.ConvNeXtV2Classifier(make_backbone(), 5)
    kinds = keras.layers.LayerNormalization, kc.GlobalResponseNormalization
    layers = [layer for layer in layers_within(classifier) if isinstance(layer, kinds)]
    # Of the stem, three downsamplings and the head one each, of four blocks two each.
    assert [layer.epsilon for layer in layers] == [1e-6] * (1 + 3 + 1 + 4 * 2)


def test_the_backbone_is_shared_not_copied(rng):
    backbone = make_backbone()
    classifier = kc.ConvNeXtV2Classifier(backbone, 5)
    assert classifier.backbone is backbone
    shared = {id(weight) for weight in classifier.weights}
    assert all(id(weight) in shared for weight in backbone.weights)


@pytest.mark.parametrize("scale", [0.001, 0.5])
def test_the_head_starts_small(scale):
    classifier = kc.ConvNeXtV2Classifier(make_backbone(), 1000, head_init_scale=scale)
    kernel, bias = classifier.get_layer("head").get_weights()
    # Standard error of a deviation of n values: 1 / sqrt(2 n), five of them.
    assert abs(kernel.std() / (0.02 * scale) - 1) < 5 / np.sqrt(2 * kernel.size)
    assert (bias == 0).all()


def test_the_default_head_scale_is_the_papers():
    assert kc.ConvNeXtV2Classifier(make_backbone(), 3).head_init_scale == 0.001


def test_an_activation_makes_probabilities(rng):
    classifier = kc.ConvNeXtV2Classifier(make_backbone(), 5, activation="softmax")
    randomize(classifier, rng)
    y = compute(classifier, rng.normal(size=(3, 16, 8, 3)).astype("float32"))
    np.testing.assert_allclose(y.sum(axis=1), 1.0, rtol=1e-5)  # five float32 quotients
    assert y.std() > 0.01


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_logits_are_float32_under_mixed_precision(rng, dtype):
    classifier = kc.ConvNeXtV2Classifier(make_backbone(dtype=dtype), 5)
    randomize(classifier, rng)
    y = compute(classifier, rng.normal(size=(2, 16, 8, 3)).astype("float32"))
    assert y.dtype == "float32"
    assert np.isfinite(y).all()


def test_a_classifier_rebuilt_from_its_config_is_equal(rng):
    arguments = {
        "num_classes": 5,
        "activation": keras.activations.softmax,
        "head_init_scale": 0.5,
        "name": "renamed",
        "trainable": False,
    }
    classifier = kc.ConvNeXtV2Classifier(make_backbone(), **arguments)
    randomize(classifier.backbone, rng)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(classifier))
    assert {name: getattr(copy, name) for name in arguments} == arguments
    assert copy.backbone.variant == classifier.backbone.variant
    copy.set_weights(classifier.get_weights())
    images = rng.normal(size=(2, 16, 8, 3)).astype("float32")
    np.testing.assert_array_equal(  # equal programs
        *(compute(model, images) for model in (classifier, copy))
    )


def test_something_else_than_a_backbone_is_refused():
    with pytest.raises(ValueError, match="`backbone` must be a ConvNeXtV2Backbone.*'atto'"):
        kc.ConvNeXtV2Classifier("atto")


@pytest.mark.parametrize("num_classes", [0, 10.0])
def test_a_number_of_classes_that_is_none_is_refused(num_classes):
    with pytest.raises(ValueError, match=f"positive int. Received: {num_classes}"):
        kc.ConvNeXtV2Classifier(make_backbone(), num_classes)


class WeighsByBrightness(kc.ConvNeXtV2Classifier):
    """Its loss asks for the images."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        brightness = keras.ops.mean(x)
        return brightness * super().compute_loss(x, y, y_pred, sample_weight, training)


def test_a_loss_of_ones_own_gets_the_images_in_evaluation_too(rng):
    classifier = WeighsByBrightness(make_backbone(), 5)
    classifier.compile(loss="mse")
    images = rng.uniform(1, 3, (2, 16, 24, 3)).astype("float32")
    targets = rng.normal(size=(2, 5)).astype("float32")
    loss = classifier.evaluate(images, targets, verbose=0)
    expected = images.mean() * np.mean((compute(classifier, images) - targets) ** 2)
    assert abs(loss - expected) < 1e-5 * expected
