import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from tests.reference.compute import compute
from tests.reference.gradients import gradients_of
from tests.reference.random_weights import randomize

MAKERS = {
    "response_norm": kc.GlobalResponseNormalization,
    "depthwise": kc.MaskedDepthwiseConv2D,
    "block": lambda dtype: kc.ConvNeXtV2Block(4, dtype=dtype),
}
HIDDEN = np.array([[[1, 0, 1], [0, 1, 1]], [[0, 0, 1], [0, 0, 0]]], "int32")
VISIBLE = 1 - HIDDEN.repeat(2, axis=1).repeat(2, axis=2)[..., None]


def make(name, dtype):
    layer = MAKERS[name](dtype=dtype)
    layer.build((None, None, None, 4))
    randomize(layer, np.random.default_rng(0))
    return layer


@pytest.mark.parametrize("name", MAKERS)
# A rounding to 8 or 11 bits costs 2^-9 or 2^-12 of a value of up to about 8; a block rounds after
# each of ten operations.
@pytest.mark.parametrize("dtype, tolerance", [("bfloat16", 0.15), ("float16", 0.02)])
@pytest.mark.parametrize("hidden", [None, HIDDEN], ids=["unmasked", "masked"])
def test_mixed_precision_is_close_to_float32(rng, name, dtype, tolerance, hidden):
    x = rng.normal(size=(2, 4, 6, 4)).astype("float32")
    expected = compute(make(name, "float32"), x, hidden=hidden)
    layer = make(name, f"mixed_{dtype}")
    y = compute(layer, x, hidden=hidden)
    assert y.dtype == dtype
    assert all(weight.dtype == "float32" for weight in layer.weights)
    y = y.astype("float32")
    np.testing.assert_allclose(y * VISIBLE, expected * VISIBLE, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_block_has_finite_gradients_where_channels_are_silent(rng, dtype):
    block = make("block", dtype)
    expand, bias = block.expand.get_weights()
    expand[:, :3], bias[:3] = 0.0, 0.0  # three of GRN's channels are zero everywhere
    block.expand.set_weights([expand, bias])
    x = 100 * rng.normal(size=(2, 4, 6, 4)).astype("float32")

    def mean_output():
        y = keras.ops.cast(block(x, hidden=HIDDEN), "float32")
        return keras.ops.mean(keras.ops.multiply(y, VISIBLE.astype("float32")))

    gradients = gradients_of(mean_output, block.trainable_weights)
    for weight, gradient in zip(block.trainable_weights, gradients, strict=True):
        assert np.isfinite(gradient).all(), weight.path
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_stochastic_depth_keeps_the_dtype(rng, dtype):
    x = keras.ops.cast(rng.normal(size=(40, 3)), dtype)
    y = kc.StochasticDepth(0.5, seed=0, dtype=f"mixed_{dtype}")(x, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    ratio = keras.ops.convert_to_numpy(keras.ops.cast(y, "float32") / keras.ops.cast(x, "float32"))
    assert set(np.unique(ratio)) == {0.0, 2.0}
