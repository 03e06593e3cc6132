"""The same numbers as the PyTorch implementation of Hugging Face's transformers."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from tests.reference.transformers_model import make_reference, run_reference
from tests.reference.transformers_weights import keras_weights


def transfer(reference, classifier):
    weights = keras_weights(reference.state_dict())
    for weight in classifier.weights:
        weight.assign(weights.pop(weight.path))  # assign refuses another shape
    assert not weights


@pytest.mark.parametrize(
    "name", ["atto", pytest.param("tiny", marks=[pytest.mark.slow, pytest.mark.one_backend])]
)
def test_logits_and_stage_outputs_equal_the_reference(name):
    images = np.random.default_rng(0).normal(size=(2, 96, 64, 3)).astype("float32")
    reference = make_reference(kc.VARIANTS[name], num_classes=17)
    expected = run_reference(reference, images, output_hidden_states=True)
    backbone = kc.ConvNeXtV2Backbone(name, (96, 64, 3))
    classifier = kc.ConvNeXtV2Classifier(backbone, 17)
    transfer(reference, classifier)
    pyramid = keras.Model(backbone.input, list(backbone.pyramid_outputs.values()))
    outputs = [classifier.output, *pyramid(classifier.input)]
    logits, *features = keras.Model(classifier.input, outputs).predict(images, verbose=0)

    assert expected.logits.std() > 0.1  # or closeness would mean little
    # Float32 against float32 through 12 or 18 blocks; the project's bound.
    np.testing.assert_allclose(logits, expected.logits.numpy(), rtol=0, atol=1e-4)
    assert len(features) == 4
    for feature, theirs in zip(features, expected.hidden_states[1:], strict=True):
        theirs = theirs.permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(feature, theirs, rtol=0, atol=1e-4)  # values up to 13
