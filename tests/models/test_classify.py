"""Features and outputs from one graph."""

import keras
import numpy as np

import keras_convnextv2 as kc
from tests.reference.compute import compute
from tests.reference.gradients import gradients_of
from tests.reference.random_weights import randomize


def test_features_inner_features_and_logits_of_one_graph(rng):
    backbone = kc.ConvNeXtV2Backbone(
        kc.Variant((1, 1, 2, 1), (4, 6, 8, 12)), (16, 24, 3), stem_stride=1
    )
    classifier = kc.ConvNeXtV2Classifier(backbone, 5)
    randomize(classifier, rng)
    features = classifier.backbone.output
    inner = classifier.backbone.get_layer("stage2_block1").output
    together = keras.Model(
        classifier.backbone.input, [inner, features, classifier.classify(features)]
    )
    images = rng.normal(size=(2, 16, 24, 3)).astype("float32")
    of_block, of_backbone, logits = compute(together, images)
    assert of_block.shape == (2, 4, 6, 8)
    # Two programs: float32 sums in another order.
    np.testing.assert_allclose(logits, compute(classifier, images), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(of_backbone, compute(backbone, images), rtol=1e-5, atol=1e-5)
    by_hand = compute(classifier.classify, of_backbone)
    np.testing.assert_allclose(by_hand, logits, rtol=1e-5, atol=1e-5)


def test_grad_cam_points_at_what_a_class_is_seen_by(rng):
    """The gradient of a logit for the features, from `classify`, is that of the head by hand."""
    backbone = kc.ConvNeXtV2Backbone(
        kc.Variant((1, 1, 1, 1), (4, 6, 8, 12)), (16, 24, 3), stem_stride=1
    )
    classifier = kc.ConvNeXtV2Classifier(backbone, 5)
    randomize(classifier, rng)
    features = rng.normal(size=(2, 2, 3, 12)).astype("float32")

    def logit(features):
        return keras.ops.sum(classifier.classify(features)[:, 3])

    variable = keras.Variable(features)
    (by_features,) = gradients_of(lambda: logit(variable.value), [variable])
    step = 1e-2 * rng.normal(size=features.shape).astype("float32")
    ahead, behind = (float(compute(logit, features + sign * step)) for sign in (1, -1))
    # A central difference; float32 logits near 1, and the third order of the step.
    np.testing.assert_allclose(
        (by_features * step).sum(), (ahead - behind) / 2, rtol=2e-2, atol=1e-4
    )
