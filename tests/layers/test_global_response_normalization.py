import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from tests.reference.gradients import gradients_of


def make_layer(rng, channels, **options):
    layer = kc.GlobalResponseNormalization(**options)
    layer.build((None, None, None, channels))
    layer.gamma.assign(rng.normal(size=channels))
    layer.beta.assign(rng.normal(size=channels))
    return layer


def formula(layer, x, visible=1.0):
    """The equations of the docstring in float64; `visible` is (B, H, W, 1)."""
    x = x.astype("float64")
    norm = np.sqrt((x**2 * visible).sum(axis=(1, 2), keepdims=True))
    scale = norm / (norm.mean(axis=-1, keepdims=True) + layer.epsilon)
    return layer.gamma.numpy() * (x * scale) + layer.beta.numpy() + x


@pytest.mark.parametrize("epsilon", [1e-6, 0.7])
def test_output_is_the_formula(rng, epsilon):
    layer = make_layer(rng, 6, epsilon=epsilon)
    x = rng.normal(size=(3, 4, 5, 6)).astype("float32") * np.arange(1, 7, dtype="float32")
    y = keras.ops.convert_to_numpy(layer(x))
    # Values up to about 100 in float32, whose rounding is 6e-8 of them.
    np.testing.assert_allclose(y, formula(layer, x), rtol=1e-5, atol=1e-5)


def test_statistics_are_of_each_image_alone(rng):
    layer = make_layer(rng, 4)
    x = rng.normal(size=(2, 3, 5, 4)).astype("float32")
    other = np.stack([x[0], 100 * x[1]])
    # The same sums over the same numbers: nothing may differ.
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(layer(x))[0], keras.ops.convert_to_numpy(layer(other))[0]
    )


def test_a_mask_leaves_hidden_positions_out_of_the_statistics(rng):
    layer = make_layer(rng, 4)
    x = rng.normal(size=(2, 4, 6, 4)).astype("float32")
    hidden = np.array([[[1, 0, 0], [0, 1, 1]], [[0, 0, 1], [0, 0, 0]]], "int32")
    visible = 1 - hidden.repeat(2, axis=1).repeat(2, axis=2)[..., None]  # (2, 4, 6, 1)
    y = keras.ops.convert_to_numpy(layer(x, hidden=hidden))
    # Float32 rounding of values near 1.
    np.testing.assert_allclose(
        y * visible, formula(layer, x, visible) * visible, rtol=1e-5, atol=1e-5
    )


def test_a_new_layer_is_the_identity(rng):
    x = rng.normal(size=(2, 3, 4, 5)).astype("float32")
    y = keras.ops.convert_to_numpy(kc.GlobalResponseNormalization()(x))
    np.testing.assert_array_equal(y, x)  # 1 + 0 * N and + 0 are exact


@pytest.mark.parametrize("silent", ["one channel", "all channels"])
def test_silent_channels_give_finite_values_and_gradients(rng, silent):
    layer = make_layer(rng, 3)
    values = rng.normal(size=(2, 4, 5, 3)).astype("float32")
    values[..., 1 if silent == "one channel" else slice(None)] = 0.0
    x = keras.Variable(values)
    weights = rng.normal(size=values.shape).astype("float32")
    variables = [x, layer.gamma, layer.beta]
    gradients = gradients_of(
        lambda: keras.ops.sum(keras.ops.multiply(layer(x.value), weights)), variables
    )
    assert np.isfinite(keras.ops.convert_to_numpy(layer(x.value))).all()
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert np.abs(gradients[0]).max() > 0


def test_large_values_in_float16_follow_the_formula(rng):
    layer = make_layer(rng, 4, dtype="mixed_float16")
    layer.gamma.assign([0.5, -0.5, 0.2, 0.1])
    x = (rng.choice([-1, 1], size=(2, 4, 5, 4)) * rng.uniform(1e4, 3e4, (2, 4, 5, 4))).astype(
        "float16"
    )
    y = keras.ops.convert_to_numpy(layer(x))
    assert y.dtype == "float16"
    # Half a unit in the last of float16's 11 bits is 5e-4; the beta's cast to it adds as much.
    np.testing.assert_allclose(y, formula(layer, x), rtol=1e-3)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_weights_are_read_in_float32_under_half_precision(rng, dtype):
    """Seen where the terms cancel: what is left is smaller than a weight's rounding would be."""
    layer = make_layer(rng, 5, dtype=dtype)
    x = rng.choice([-1.0, 0.5, 2.0], size=(2, 3, 4, 5)).astype("float32")
    left = 1e-4 * rng.normal(size=5)
    layer.beta.assign(0 * layer.beta)
    layer.beta.assign(left - formula(layer, x)[1, 2, 1])
    y = keras.ops.convert_to_numpy(keras.ops.cast(layer(x), "float32"))[1, 2, 1]
    # The result's own rounding, and float32's of terms near 1.
    np.testing.assert_allclose(y, formula(layer, x)[1, 2, 1], rtol=2**-8, atol=2e-6)


def test_what_float16_cannot_hold_saturates(rng):
    layer = make_layer(rng, 3, dtype="mixed_float16")
    layer.gamma.assign([5.0, 0.0, -5.0])
    x = np.full((2, 3, 4, 3), 3e4, "float16")
    y = keras.ops.convert_to_numpy(layer(x))
    assert (y[..., 0] == 65504).all() and (y[..., 2] == -65504).all()


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_large_values_in_half_precision_have_finite_gradients(rng, dtype):
    layer = make_layer(rng, 4, dtype=dtype)
    values = rng.choice([-3e4, 3e4, 1e-4], size=(2, 4, 5, 4)).astype("float32")
    variables = [keras.Variable(values), layer.gamma, layer.beta]

    def mean_output():
        return keras.ops.mean(keras.ops.cast(layer(variables[0].value), "float32"))

    gradients = gradients_of(mean_output, variables)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("epsilon", [0, -1.0])
def test_epsilon_must_be_positive(epsilon):
    with pytest.raises(ValueError, match=rf"`epsilon` must be positive. Received: {epsilon}"):
        kc.GlobalResponseNormalization(epsilon=epsilon)
