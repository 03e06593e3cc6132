"""The convolution of patches equals NumPy's sum over each patch, on every backend and dtype."""

import keras
import numpy as np
import pytest

from keras_convnextv2.layers import ops
from keras_convnextv2.layers.patch_convolution import PatchConvolution
from tests.reference.gradients import gradients_of

# Whole patches, and what is left over at the edges: of two pixels and of one. Few and many
# channels, and a map of one column, are computed in ways of their own.
SHAPES = [(2, 8, 12, 3), (3, 6, 13, 2), (2, 6, 9, 130), (2, 9, 5, 3)]


def patches(x, side):
    """(B, rows, columns, side, side, C)."""
    rows, columns = x.shape[1] // side, x.shape[2] // side
    x = x[:, : rows * side, : columns * side]
    return x.reshape(len(x), rows, side, columns, side, x.shape[-1]).swapaxes(2, 3)


def whole(cut, shape):
    """The image of these patches, 0 where there is none."""
    batch, rows, columns, side, _, channels = cut.shape
    image = np.zeros(shape)
    image[:, : rows * side, : columns * side] = cut.swapaxes(2, 3).reshape(
        batch, rows * side, columns * side, channels
    )
    return image


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        ("float32", 1e-6),
        ("bfloat16", 2**-7),
        pytest.param("float16", 2**-10, marks=pytest.mark.one_backend),
    ],
)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [1, 2, 4])
def test_values_and_gradients_equal_the_sums(rng, shape, side, dtype, tolerance):
    layer = PatchConvolution(5, side, dtype=dtype, use_bias=False)
    layer.build(shape)
    layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    x = keras.Variable(rng.normal(size=shape), dtype=dtype)
    y = layer(x.value)
    upstream = keras.ops.cast(rng.normal(size=y.shape), dtype)
    x_gradient, kernel_gradient = gradients_of(
        lambda: keras.ops.sum(keras.ops.cast(layer(x.value) * upstream, "float32")),
        [x, layer.kernel],
    )

    assert keras.backend.standardize_dtype(y.dtype) == dtype
    exact_x, kernel, y, exact_upstream = (
        keras.ops.convert_to_numpy(keras.ops.cast(a, "float32")).astype("float64")
        for a in (x.value, layer.kernel.value, y, upstream)
    )
    cut = patches(exact_x, side)
    expected = {
        "y": (y, np.einsum("brchwi,hwio->brco", cut, kernel)),
        "kernel": (kernel_gradient, np.einsum("brchwi,brco->hwio", cut, exact_upstream)),
        "x": (x_gradient, whole(np.einsum("hwio,brco->brchwi", kernel, exact_upstream), shape)),
    }
    for name, (found, exact) in expected.items():
        scale = np.abs(exact).max()
        np.testing.assert_allclose(found, exact, atol=4 * tolerance * scale, err_msg=name)


def test_it_is_the_layer_of_keras(rng):
    """Same weights and same config."""
    ours = PatchConvolution(6, 2, name="conv")
    keras_layer = keras.layers.Conv2D(6, 2, strides=2)
    x = rng.normal(size=(2, 8, 10, 4)).astype("float32")
    ours(x), keras_layer(x)
    ours.bias.assign(rng.normal(size=6))
    keras_layer.set_weights(ours.get_weights())
    np.testing.assert_allclose(
        *(keras.ops.convert_to_numpy(layer(x)) for layer in (ours, keras_layer)), atol=1e-5
    )

    other = PatchConvolution(6, 2, use_bias=False, activation="relu", kernel_regularizer="l2")
    config = PatchConvolution.from_config(other.get_config()).get_config()
    assert config == other.get_config() and not config["use_bias"]

    again = keras.layers.deserialize(keras.layers.serialize(ours))
    assert type(again) is PatchConvolution
    assert (again.filters, again.patch_size, again.name) == (6, 2, "conv")
    assert again.compute_output_shape((None, 9, None, 4)) == (None, 4, None, 6)


@pytest.mark.parametrize(("channels", "by_matrices_on"), [(3, {"jax"}), (64, {"jax", "torch"})])
@pytest.mark.usefixtures("fast_paths")
def test_on_a_cpu_patches_of_many_numbers_are_matrices(rng, monkeypatch, channels, by_matrices_on):
    backend = keras.backend.backend()
    x = rng.normal(size=(1, 4, 4, channels)).astype("float32")
    layer = PatchConvolution(5, 2)
    layer.build(x.shape)
    homes = {"jax": (keras.ops, "conv"), "tensorflow": (keras.ops, "conv")}
    if backend == "torch":
        import torch

        homes["torch"] = (torch.nn.functional, "conv2d")
    convolutions = []
    home, name = homes[backend]
    real = getattr(home, name)
    monkeypatch.setattr(
        home, name, lambda *a, **options: (convolutions.append(1), real(*a, **options))[1]
    )
    if backend == "jax":
        import jax

        text = jax.jit(lambda x: layer(x)).lower(x).as_text()
        assert ("stablehlo.convolution" in text) == (backend not in by_matrices_on)
    else:
        layer(x)
        assert bool(convolutions) == (backend not in by_matrices_on)


@pytest.mark.parametrize("shape", [(2, 3, 9, 3), (2, 9, 3, 130)])
def test_a_map_smaller_than_the_kernel_is_refused(rng, shape):
    layer = PatchConvolution(5, 4)
    layer.build((None, None, None, shape[-1]))
    message = f"map of {shape[1]}x{shape[2]} is too small for a convolution of 4x4"
    with pytest.raises(ValueError, match=message):
        layer(rng.normal(size=shape).astype("float32"))


def test_double_precision_is_kept_where_the_backend_has_it(rng):
    x, kernel = rng.normal(size=(2, 4, 4, 130)), rng.normal(size=(2, 2, 130, 3))
    y = ops.patch_convolution(*(keras.ops.convert_to_tensor(a, "float64") for a in (x, kernel)))
    dtype = keras.backend.standardize_dtype(y.dtype)
    assert dtype == ("float32" if keras.backend.backend() == "jax" else "float64")
    expected = np.einsum("brchwi,hwio->brco", patches(x, 2), kernel)
    tolerance = {"float32": 1e-5, "float64": 1e-14}[dtype] * np.abs(expected).max()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(y), expected, atol=tolerance)
