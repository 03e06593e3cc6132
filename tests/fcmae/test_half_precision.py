"""In half precision the loss and its gradients are finite, whatever the widths."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from tests.reference.compute import compute
from tests.reference.gradients import gradients_of


# Few channels, in multiples of 8 and not: oneDNN has ways of its own for some of them. On
# processors with AMX the first two gave NaN on the visible path; see `layers.ops.is_one_column`.
@pytest.mark.parametrize("widths", [(8, 16, 24, 32), (16, 32, 48, 64), (4, 6, 10, 18)])
def test_bfloat16_is_finite_at_small_widths(widths, rng):
    backbone = kc.ConvNeXtV2Backbone(
        kc.Variant((1, 1, 1, 1), widths), (64, 64, 3), stem_stride=2, seed=0, dtype="mixed_bfloat16"
    )
    fcmae = kc.FCMAE(backbone, decoder_width=32)
    images = rng.normal(size=(64, 64, 64, 3)).astype("float32")
    hidden = keras.ops.convert_to_numpy(fcmae.draw_hidden(64, step=1))
    gradients = gradients_of(
        lambda: fcmae.loss_on(images, hidden, training=True), fcmae.trainable_variables
    )
    for variable, gradient in zip(fcmae.trainable_variables, gradients, strict=True):
        assert np.isfinite(gradient).all(), variable.path
    loss = compute(fcmae.loss_on, images, hidden)
    other = kc.FCMAE(backbone, decoder_width=32, encoder_path="dense")
    other.decoder.set_weights(fcmae.decoder.get_weights())
    # Roundings to 8 bits, in another order.
    np.testing.assert_allclose(loss, compute(other.loss_on, images, hidden), rtol=1e-2)
