"""The same numbers on every backend: those of tests/golden/make_golden.py, plain PyTorch."""

from pathlib import Path

import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.training.optimizers import adamw
from tests.reference.compute import compute
from tests.reference.gradients import gradients_of

GOLDEN = Path(__file__).parents[1] / "golden" / "fcmae.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


def make_fcmae(golden):
    sizes = kc.Variant((1, 1, 2, 1), (4, 6, 8, 12))
    backbone = kc.ConvNeXtV2Backbone(sizes, (16, 24, 3), stem_stride=1)
    # The masks hide another number in each image.
    fcmae = kc.FCMAE(backbone, decoder_width=8, encoder_path="dense")
    weights = fcmae.trainable_weights
    assert {f"weights/{w.path}" for w in weights} == {k for k in golden if k.startswith("weights/")}
    for weight in weights:
        weight.assign(golden[f"weights/{weight.path}"])
    return fcmae


def test_loss_equals_the_golden_one(golden):
    loss = compute(make_fcmae(golden).loss_on, golden["images"], golden["hidden"])
    assert abs(loss - golden["losses"][0]) < 1e-5  # float32 against float64; the project's


def test_every_gradient_equals_the_golden_one(golden):
    fcmae = make_fcmae(golden)
    gradients = gradients_of(
        lambda: fcmae.loss_on(golden["images"], golden["hidden"], training=True),
        fcmae.trainable_weights,
    )
    for weight, gradient in zip(fcmae.trainable_weights, gradients, strict=True):
        expected = golden[f"gradients/{weight.path}"]
        # The project's bound, relative to the gradient's norm.
        error = np.linalg.norm(gradient - expected) / np.linalg.norm(expected)
        assert error < 1e-4, weight.path


def test_three_adamw_steps_of_fit_lead_to_the_golden_weights(golden):
    fcmae = make_fcmae(golden)
    fcmae.compile(optimizer=adamw(fcmae, 1e-2, 0.5, beta_2=0.95))
    data = {"images": golden["images"], "hidden": golden["hidden"]}
    history = fcmae.fit(data, batch_size=3, epochs=3, verbose=0).history
    # Later losses carry the weights' error of up to 1e-4.
    np.testing.assert_allclose(history["loss"], golden["losses"], atol=1e-4)
    for weight in fcmae.trainable_weights:
        # The project's bound; three steps of rate 1e-2 move a weight by about 3e-2.
        np.testing.assert_allclose(
            weight.numpy(), golden[f"stepped/{weight.path}"], atol=1e-4, err_msg=weight.path
        )
