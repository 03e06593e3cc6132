"""The depthwise convolution equals NumPy's loops, with fast paths and without, in every dtype."""

import keras
import numpy as np
import pytest

from keras_convnextv2.layers import ops
from keras_convnextv2.layers.fast import depthwise as fast_depthwise
from keras_convnextv2.layers.fast import jax as on_jax
from keras_convnextv2.layers.fast import jax_kernel_gradient
from keras_convnextv2.layers.fast import tensorflow as on_tensorflow
from keras_convnextv2.layers.fast import torch as on_torch
from keras_convnextv2.layers.regions import MaskedMap, WholeMap
from tests.reference.gradients import gradients_of

pytestmark = pytest.mark.usefixtures("fast_paths")
METHODS = {"auto": ops.depthwise, "off": ops.depthwise.plain}


def reference(x, kernel):
    size = kernel.shape[0]
    margin = size // 2
    padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    result = np.zeros_like(x)
    for row in range(size):
        for column in range(size):
            view = padded[:, row : row + x.shape[1], column : column + x.shape[2]]
            result += view * kernel[row, column, :, 0]
    return result


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "shape",
    # The last two: many channels, which JAX takes in blocks of 8 on a CPU, and no whole blocks.
    [(2, 5, 9, 3), (1, 8, 3, 4), (3, 1, 1, 2), (4, 11, 2, 2), (2, 3, 5, 88), (1, 4, 3, 90)],
)
@pytest.mark.parametrize("size", [3, 7])
def test_values_and_gradients_equal_the_loops(rng, shape, size, method):
    x = rng.normal(size=shape)
    kernel = rng.normal(size=(size, size, shape[-1], 1))
    upstream = rng.normal(size=shape)
    x_variable = keras.Variable(x.astype("float32"))
    kernel_variable = keras.Variable(kernel.astype("float32"))

    tensors = [keras.ops.convert_to_tensor(a.astype("float32")) for a in (x, kernel)]
    y = METHODS[method](*tensors)
    expected = reference(x, kernel)
    # float32 against float64: sums of 49 products of order 1.
    np.testing.assert_allclose(keras.ops.convert_to_numpy(y), expected, atol=1e-4)

    def weighted_sum():
        y = METHODS[method](x_variable.value, kernel_variable.value)
        return keras.ops.sum(keras.ops.multiply(y, upstream.astype("float32")))

    x_gradient, kernel_gradient = gradients_of(weighted_sum, [x_variable, kernel_variable])
    # The sum is bilinear: each gradient is the sum at the unit vectors, taken here as another
    # convolution for x, and tap by tap for the kernel.
    np.testing.assert_allclose(x_gradient, reference(upstream, kernel[::-1, ::-1]), atol=1e-4)
    for row in range(size):
        for column in range(size):
            tap = np.zeros_like(kernel)
            tap[row, column] = 1
            expected = (reference(x, tap) * upstream).sum(axis=(0, 1, 2))
            np.testing.assert_allclose(kernel_gradient[row, column, :, 0], expected, atol=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 2**-7), ("float16", 2**-10)])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channels", [4, 80])
def test_half_precision_is_the_rounded_result(rng, dtype, tolerance, method, channels):
    x = keras.ops.cast(rng.normal(size=(2, 6, 10, channels)), dtype)
    kernel = keras.ops.cast(rng.normal(size=(7, 7, channels, 1)), dtype)
    y = METHODS[method](x, kernel)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    wide = [keras.ops.convert_to_numpy(keras.ops.cast(a, "float32")) for a in (x, kernel, y)]
    expected = reference(*wide[:2])
    # One rounding of a result of up to about 30, and a backend that rounds its partial sums.
    np.testing.assert_allclose(wide[2], expected, atol=8 * tolerance * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(2, 56, 56, 40), (2, 14, 14, 160)])
def test_the_way_that_is_chosen_equals_the_backends_own(rng, shape):
    """At the shapes of atto's first and third stage, which the choice is made for."""
    x = keras.Variable(rng.normal(size=shape).astype("float32"))
    kernel = keras.Variable(rng.normal(size=(7, 7, shape[-1], 1)).astype("float32"))
    upstream = keras.ops.convert_to_tensor(rng.normal(size=x.shape).astype("float32"))
    results = []
    for method in ("auto", "off"):

        def weighted_sum(method=method):
            return keras.ops.sum(METHODS[method](x.value, kernel.value) * upstream)

        y = METHODS[method](x.value, kernel.value)
        gradients = gradients_of(weighted_sum, [x, kernel])
        results.append([keras.ops.convert_to_numpy(y), *gradients])
    for chosen, own in zip(*results, strict=True):
        np.testing.assert_allclose(chosen, own, atol=1e-5 * np.abs(own).max())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_gradient_that_is_chosen_is_as_exact_in_half_precision(rng, dtype):
    x, upstream = (rng.normal(size=(2, 28, 28, 8)) for _ in range(2))
    kernel = rng.normal(size=(7, 7, 8, 1))
    gradients = []
    for method, kind in (("auto", dtype), ("off", dtype), ("off", "float32")):
        # The float32 ones start from the same rounded numbers.
        rounded = [keras.ops.cast(keras.ops.cast(a, dtype), kind) for a in (x, kernel, upstream)]
        variables = [keras.Variable(a, dtype=kind) for a in rounded[:2]]

        def weighted_sum(variables=variables, upstream=rounded[2], method=method):
            y = METHODS[method](*(v.value for v in variables))
            return keras.ops.sum(keras.ops.cast(y * upstream, "float32"))

        gradients.append(gradients_of(weighted_sum, variables))
    tolerance = 2 * {"bfloat16": 2**-7, "float16": 2**-10}[dtype]
    for chosen, own, exact in zip(*gradients, strict=True):
        # TensorFlow adds in float16 itself on processors without instructions for it; then ours
        # adds in another order.
        error, own_error = (np.abs(gradient - exact).max() for gradient in (chosen, own))
        assert error <= max(tolerance * np.abs(exact).max(), 1.5 * own_error)


def own_ways():
    """The convolution and its kernel's gradient as this backend has them on a CPU."""
    backend = keras.backend.backend()
    if backend == "jax":
        return on_jax._on_maps()
    module = {"tensorflow": on_tensorflow, "torch": on_torch}[backend]
    return module._convolution, module._gradient_of_maps


def test_another_layout_is_moved_to_the_map_and_back(rng):
    """Here one with the batch last, on its side."""
    x = keras.Variable(rng.normal(size=(5, 2, 9, 3)).astype("float32"))
    kernel = keras.Variable(rng.normal(size=(3, 3, 3, 1)).astype("float32"))
    upstream = keras.ops.convert_to_tensor(rng.normal(size=x.shape).astype("float32"))

    def to_map(x):
        return keras.ops.transpose(x, (1, 2, 0, 3))

    def from_map(x):
        return keras.ops.transpose(x, (2, 0, 1, 3))

    def moved():
        convolution = fast_depthwise.with_own_gradient(*own_ways(), to_map, from_map)
        return convolution(x.value, kernel.value)

    def by_hand():
        return from_map(ops.depthwise.plain(to_map(x.value), kernel.value))

    results = []
    for function in (moved, by_hand):
        gradients = gradients_of(
            lambda function=function: keras.ops.sum(function() * upstream), [x, kernel]
        )
        results.append([keras.ops.convert_to_numpy(function()), *gradients])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize("channels", [8, 88])
def test_an_empty_batch_has_a_kernel_gradient_of_zeros(channels):
    x = keras.Variable(np.zeros((0, 5, 5, channels), "float32"))
    kernel = keras.Variable(np.ones((3, 3, channels, 1), "float32"))
    _, gradient = gradients_of(
        lambda: keras.ops.sum(ops.depthwise(x.value, kernel.value)), [x, kernel]
    )
    np.testing.assert_array_equal(gradient, np.zeros(kernel.shape))


def block_of_two_operations(x, kernel, gamma, beta):
    """What a block has of kernels with gradients of their own."""
    y = ops.depthwise(x, kernel)
    return ops.gelu_grn(y, gamma, beta, 1e-6, WholeMap())


@pytest.mark.parametrize("channels", [pytest.param(3, marks=pytest.mark.one_backend), 80])
def test_second_derivatives_are_those_of_differences(rng, channels):
    """Of the squared length of a gradient, as a gradient penalty has it."""
    shapes = [(2, 4, 5, channels), (3, 3, channels, 1), (channels,), (channels,)]
    values = [rng.normal(size=shape).astype("float32") for shape in shapes]
    direction = rng.normal(size=shapes[0]).astype("float32")
    first, second = second_derivatives(block_of_two_operations, values)

    def length_at(step):
        moved = [values[0] + step * direction, *values[1:]]
        return float(np.sum(np.square(second_derivatives(block_of_two_operations, moved)[0])))

    step = 1e-2  # the error of a central difference is of its square
    along = (length_at(step) - length_at(-step)) / (2 * step)
    assert np.abs(first).max() > 0
    np.testing.assert_allclose(float(np.sum(second * direction)), along, rtol=1e-2)


def second_derivatives(function, values):
    """The gradient by the first value of sum(function ** 2), and that of its squared length."""

    def total(*tensors):
        return keras.ops.sum(keras.ops.square(function(*tensors)))

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        first = jax.grad(total)

        def length(*tensors):
            return keras.ops.sum(keras.ops.square(first(*tensors)))

        pair = first(*values), jax.grad(length)(*values)
    elif backend == "torch":
        import torch

        tensors = [torch.tensor(value, requires_grad=True) for value in values]
        (gradient,) = torch.autograd.grad(total(*tensors), tensors[:1], create_graph=True)
        pair = gradient.detach(), torch.autograd.grad(gradient.square().sum(), tensors[:1])[0]
    else:
        import tensorflow as tf

        tensors = [tf.constant(value) for value in values]
        with tf.GradientTape() as outer:
            outer.watch(tensors)
            with tf.GradientTape() as inner:
                inner.watch(tensors)
                value = total(*tensors)
            gradient = inner.gradient(value, tensors[0])
            length = tf.reduce_sum(tf.square(gradient))
        pair = gradient, outer.gradient(length, tensors[0])
    return [keras.ops.convert_to_numpy(tensor) for tensor in pair]


def test_on_a_cpu_the_kernels_gradient_is_our_own_and_only_where_it_is_needed(rng, monkeypatch):
    backend = keras.backend.backend()
    module, name = {
        "jax": (jax_kernel_gradient, "by_map"),
        "tensorflow": (on_tensorflow, "_wide_gradient"),
        "torch": (on_torch, "_wide_gradient"),
    }[backend]
    uses, real = [], getattr(module, name)
    monkeypatch.setattr(module, name, lambda *a, **options: uses.append(1) or real(*a, **options))
    x = keras.Variable(rng.normal(size=(1, 5, 6, 2)).astype("float32"))
    kernel = keras.Variable(rng.normal(size=(7, 7, 2, 1)).astype("float32"))

    def total():
        return keras.ops.sum(ops.depthwise(x.value, kernel.value))

    gradients_of(total, [x, kernel])
    assert len(uses) == 1
    if backend == "torch":  # the others compile a step, which leaves out what is not used
        kernel.trainable = False
        gradients_of(total, [x])
        assert len(uses) == 1


@pytest.mark.parametrize("is_masked", [False, True])
def test_gelu_and_grn_in_one_equal_the_two_after_each_other(rng, is_masked):
    x = rng.normal(size=(2, 4, 6, 5)).astype("float32")
    x[..., 3] = 0  # a silent channel
    x[0, 1, 1, 0] = 9.0  # where the cumulative distribution is 1
    x[1, 0, 2, 0] = -9.0
    x = keras.Variable(x)
    gamma, beta = (keras.Variable(rng.normal(size=5).astype("float32")) for _ in range(2))
    upstream = rng.normal(size=x.shape).astype("float32")
    hidden = np.array([[[1, 0, 0], [0, 1, 0]]] * 2, "int32") if is_masked else None
    if is_masked:  # what is left at hidden positions is never read
        upstream *= np.kron(1 - hidden, np.ones((1, 2, 2)))[..., None].astype("float32")
    upstream = keras.ops.convert_to_tensor(upstream)
    region = MaskedMap(hidden) if is_masked else WholeMap()

    def in_one():
        return ops.gelu_grn(x.value, gamma.value, beta.value, 1e-6, region)

    def after_each_other():
        activated = keras.ops.gelu(x.value, approximate=False)
        norm = ops.norm_over_positions(activated, region)
        response = norm / (keras.ops.mean(norm, axis=-1, keepdims=True) + 1e-6)
        return gamma.value * (activated * response) + beta.value + activated

    results = []
    for function in (in_one, after_each_other):
        gradients = gradients_of(
            lambda function=function: keras.ops.sum(function() * upstream), [x, gamma, beta]
        )
        results.append([keras.ops.convert_to_numpy(function()), *gradients])
    if is_masked:
        seen = np.kron(1 - hidden, np.ones((1, 2, 2)))[..., None] == 1
        results = [[np.where(seen, y, 0), *rest] for y, *rest in results]
    for one, other in zip(*results, strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max())


if keras.backend.backend() == "jax":

    @pytest.mark.parametrize("num_devices", [2, 8])
    def test_a_kernel_gradient_in_parts_for_devices_is_that_of_one(rng, num_devices, monkeypatch):
        """Of 24 windows in 2 or 8 parts, of which 8 are summed at once: some are left over."""
        import jax

        windows = rng.normal(size=(24, 6, 6, 5)).astype("float32")
        gradient = rng.normal(size=(4, 6 * 4, 4, 5)).astype("float32")
        of_one = jax_kernel_gradient.by_windows(windows, gradient, 3)
        monkeypatch.setattr(jax, "device_count", lambda: num_devices)
        of_parts = jax_kernel_gradient.by_windows(windows, gradient, 3)
        # float32 sums of 384 products in another order
        np.testing.assert_allclose(of_parts, of_one, atol=1e-4)
        windows = windows.astype("float64")
        for row in range(3):
            for column in range(3):
                met = windows[:, row : row + 4, column : column + 4]
                expected = (met * gradient.reshape(24, 4, 4, 5)).sum(axis=(0, 1, 2))
                np.testing.assert_allclose(of_parts[row, column, :, 0], expected, atol=1e-4)
