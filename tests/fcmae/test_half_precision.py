"""In half precision the loss and its gradients are finite, whatever the widths."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from tests.reference.compute import compute
from tests.reference.gradients import gradients_of

# Few channels, in multiples of 8 and not: oneDNN has ways of its own for some of them. On
# processors with AMX the first two gave NaN on the visible path; see `layers.ops.is_one_column`.
WIDTHS = [(8, 16, 24, 32), (16, 32, 48, 64), (4, 6, 10, 18)]


def make(widths, rng):
    """(FCMAE, images, which patches are hidden)."""
    backbone = kc.ConvNeXtV2Backbone(
        kc.Variant((1, 1, 1, 1), widths), (64, 64, 3), stem_stride=2, seed=0, dtype="mixed_bfloat16"
    )
    fcmae = kc.FCMAE(backbone, decoder_width=32)
    images = rng.normal(size=(64, 64, 64, 3)).astype("float32")
    return fcmae, images, keras.ops.convert_to_numpy(fcmae.draw_hidden(64, step=1))


@pytest.mark.parametrize("widths", WIDTHS)
def test_bfloat16_is_finite_at_small_widths(widths, rng):
    fcmae, images, hidden = make(widths, rng)
    gradients = gradients_of(
        lambda: fcmae.loss_on(images, hidden, training=True), fcmae.trainable_variables
    )
    for variable, gradient in zip(fcmae.trainable_variables, gradients, strict=True):
        assert np.isfinite(gradient).all(), variable.path


@pytest.mark.parametrize("widths", WIDTHS)
def test_bfloat16_gives_nearly_the_same_loss_on_both_paths(widths, rng):
    fcmae, images, hidden = make(widths, rng)
    dense = kc.FCMAE(fcmae.backbone, decoder_width=32, encoder_path="dense")
    dense.decoder.set_weights(fcmae.decoder.get_weights())
    visible, expected = (compute(model.loss_on, images, hidden) for model in (fcmae, dense))
    # Roundings to 8 bits, in another order.
    np.testing.assert_allclose(visible, expected, rtol=1e-2)
