"""Every faster way of the table equals the plain operation, and can be switched off."""

import math

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.layers import ops
from keras_convnextv2.layers.fast import operations, set_fast_paths, table
from keras_convnextv2.layers.regions import MaskedMap, VisibleStrip, WholeMap
from tests.reference.gradients import gradients_and_results, gradients_of

ENTRIES = {
    operation: entry
    for (operation, backend, _), entry in table.TABLE.items()
    if backend == keras.backend.backend() and hasattr(ops, operation)
}
WITH_KERNELS = ("depthwise", "depthwise_on_strip", "patch_convolution")
OF_NUMBERS = ("take_rows", "computed_once")  # they have no gradient
CHANNELS, KERNELS = (1, 3, 7, 80, 88), (3, 5, 7, 9)
PATCH_SIDES = {3: 1, 5: 2, 7: 3, 9: 4}
HIDDEN = np.array([[[1, 0, 1, 0], [0, 1, 0, 1]], [[0, 0, 1, 1], [1, 0, 0, 1]]], "int32")
K = 4  # visible patches of each


pytestmark = pytest.mark.usefixtures("fast_paths")


def cases():
    for operation, entry in ENTRIES.items():
        if operation in OF_NUMBERS:
            continue
        kernels = KERNELS if operation in WITH_KERNELS else (7,)
        for dtype in entry.dtypes or ("float32", "bfloat16", "float16"):
            for channels in CHANNELS:
                for kernel in kernels:
                    # A way may depend on the number of channels, and on the kernel's size: each
                    # with the paper's 7, and with few channels and with many. In half precision
                    # the sums are the same: fewer shapes will do.
                    paired = kernel == 7 or channels in (3, 80)
                    if paired if dtype == "float32" else kernel == 7 and channels in (7, 80):
                        yield operation, dtype, channels, kernel


def strip_of(side, kernel_size=7):
    x = keras.ops.zeros((2, K * side, side, 1))
    return VisibleStrip(keras.ops.convert_to_tensor(HIDDEN), K, kernel_size).at(x)


def arguments(rng, operation, channels, size):
    """The arrays that have gradients, and the function of an operation and their tensors."""
    normal = rng.standard_normal
    if operation == "depthwise":
        arrays = normal((2, 5, 9, channels)), normal((size, size, channels, 1))
        return arrays, lambda function, *tensors: function(*tensors)
    if operation == "depthwise_on_strip":
        side = 5 if size != 5 else 3  # by windows, and by the map
        strip = strip_of(side, size)
        arrays = normal((2, K * side, side, channels)), normal((size, size, channels, 1))
        return arrays, lambda function, *tensors: function(*tensors, strip)
    if operation == "patch_convolution":
        side = PATCH_SIDES[size]
        arrays = normal((2, 9, 13, channels)), normal((side, side, channels, 5))
        return arrays, lambda function, *tensors: function(*tensors)
    if operation == "linear":
        arrays = normal((2, 3, 5, channels)), normal((channels, 9)), normal(9)
        return arrays, lambda function, *tensors: function(*tensors)
    if operation == "layer_norm":
        arrays = normal((2, 3, 5, channels)), normal(channels), normal(channels)
        return arrays, lambda function, *tensors: function(*tensors, 1e-3)
    if operation == "gelu_grn":
        region = MaskedMap(HIDDEN) if channels % 2 else WholeMap()
        arrays = normal((2, 4, 8, channels)), normal(channels), normal(channels)

        def call(function, x, gamma, beta):
            gamma, beta = (keras.ops.cast(weight, "float32") for weight in (gamma, beta))
            # What is left at hidden positions is never read.
            return region.clean(function(x, gamma, beta, 1e-6, region))

        return arrays, call
    if operation == "move_rows":
        strip = strip_of(3)
        arrays = (normal((2, HIDDEN[0].size * 3, channels)),)
        return arrays, lambda function, x: function(x, strip.strip_numbers, strip.map_numbers)
    if operation == "reshape":
        return (normal((2, 3, 5, channels)),), lambda function, x: function(x, (-1, channels))
    if operation == "sum_of_squares":
        arrays = normal((2, 3, channels)), normal(channels), normal(5)
        return arrays, lambda function, *tensors: function(tensors)
    raise ValueError(f"The operation {operation} has no case here: write one.")


@pytest.mark.parametrize(("operation", "dtype", "channels", "kernel"), list(cases()))
def test_an_entry_equals_its_plain_twin(rng, operation, dtype, channels, kernel):
    arrays, call = arguments(rng, operation, channels, kernel)

    def results(function, dtype):
        # Those in float32 start from the rounded numbers too.
        rounded = [keras.ops.cast(keras.ops.cast(array, given), dtype) for array in arrays]
        variables = [keras.Variable(array, dtype=dtype) for array in rounded]

        def total():
            y = call(function, *(variable.value for variable in variables))
            dtypes.append(keras.backend.standardize_dtype(y.dtype))
            y = keras.ops.cast(y, "float32")
            return keras.ops.sum(y * upstream(y)), y

        dtypes = []
        gradients, y = gradients_and_results(total, variables)
        return dtypes[0], [y, *gradients]

    def upstream(y):
        values = np.random.default_rng(1).standard_normal(tuple(y.shape)).astype("float32")
        return keras.ops.cast(keras.ops.cast(values, given), "float32")

    given = dtype
    dtype_of_fast, fast = results(ENTRIES[operation].way, dtype)
    set_fast_paths("off")
    dtype_of_plain, plain = results(getattr(ops, operation).plain, dtype)
    assert dtype_of_fast == dtype_of_plain
    exact = plain if dtype == "float32" else results(getattr(ops, operation).plain, "float32")[1]
    rounding = {"float32": 1e-5, "bfloat16": 2**-6, "float16": 2**-9}[dtype]
    for one, other, right in zip(fast, plain, exact, strict=True):
        assert one.shape == other.shape and np.isfinite(one).all()
        error, plain_error = (np.abs(a - right).max(initial=0) for a in (one, other))
        # The same sums in another order; in half precision as exact as the plain way, about.
        assert error <= max(rounding * np.abs(right).max(initial=0), 1.5 * plain_error)


@pytest.mark.parametrize("paths", ["auto", "off"])
def test_rows_are_taken_within_each_image(rng, paths):
    set_fast_paths(paths)
    numbers, values = rng.integers(0, 7, (3, 11)), rng.integers(0, 99, (3, 7, 2))
    found = ops.take_rows(*(keras.ops.convert_to_tensor(a, "int32") for a in (values, numbers)))
    expected = np.stack([v[n] for v, n in zip(values, numbers, strict=True)])
    np.testing.assert_array_equal(to_numpy(found), expected)
    numbers = keras.ops.convert_to_tensor(numbers, "int32")
    np.testing.assert_array_equal(to_numpy(ops.computed_once(numbers)), to_numpy(numbers))


def to_numpy(x):
    return keras.ops.convert_to_numpy(x)


def test_a_way_is_taken_on_the_device_and_the_dtypes_it_was_measured_for(monkeypatch):
    x = keras.ops.zeros((2, 4, 6, 88))
    kernel = keras.ops.zeros((7, 7, 88, 1))
    assert table.find("depthwise", x, kernel) is ENTRIES["depthwise"].way
    assert table.find("depthwise", keras.ops.cast(x, "int32"), kernel) is None
    assert table.takes_windows(4, x) and not table.takes_windows(3, x)
    monkeypatch.setattr(table, "device", lambda _: "gpu")
    assert all(table.find(name, x, kernel) is None for name in ENTRIES)
    assert not table.takes_windows(4, x)


def test_off_takes_none_and_names_take_those_alone():
    x = keras.ops.zeros((2, 4, 6, 88))
    kernel = keras.ops.zeros((7, 7, 88, 1))
    assert kc.set_fast_paths("off") == "auto"
    assert all(table.find(name, x, kernel) is None for name in ENTRIES)
    assert kc.set_fast_paths({"depthwise", "windows"}) == "off"
    assert table.find("depthwise", x, kernel) is ENTRIES["depthwise"].way
    assert table.find("depthwise_on_strip", x, kernel) is None
    assert table.takes_windows(4, x)
    assert kc.set_fast_paths() == {"depthwise", "windows"}


@pytest.mark.one_backend
@pytest.mark.parametrize("paths", ["fast", {"depthwise", "unknown"}])
def test_a_path_that_does_not_exist_is_refused(paths):
    with pytest.raises(ValueError, match='"auto", "off" or a set.* depthwise, .*Received: '):
        kc.set_fast_paths(paths)
    assert set_fast_paths() == "auto"


@pytest.mark.one_backend
def test_every_operation_of_the_table_is_one_of_ops_or_known():
    asked_for_elsewhere = {"windows", "adamw"}
    assert {name for name in operations() if not hasattr(ops, name)} == asked_for_elsewhere


def test_a_choice_changes_no_result_of_a_layer(rng):
    layer = kc.MaskedDepthwiseConv2D()
    x = rng.normal(size=(1, 6, 8, 3)).astype("float32")
    default = layer(x)
    kc.set_fast_paths("off")
    np.testing.assert_allclose(*map(to_numpy, (layer(x), default)), atol=1e-6)


def test_gelu_with_grn_sums_in_float32_for_bfloat16(rng):
    """Seen in an image whose gains nearly cancel, and in a gradient that adds up many images."""
    x, upstream = (
        keras.ops.cast(values, "bfloat16")
        for values in (rng.normal(size=(64, 8, 10, 8)), rng.uniform(0.5, 1.5, (64, 8, 10, 8)))
    )
    wide_x, wide_upstream = (
        to_numpy(keras.ops.cast(a, "float32")).astype("float64") for a in (x, upstream)
    )
    activated = wide_x * (0.5 + 0.5 * np.vectorize(math.erf)(wide_x / math.sqrt(2)))
    norm = np.sqrt(np.square(activated).sum(axis=(1, 2)))
    scaled = norm / (norm.mean(axis=-1, keepdims=True) + 1e-6)
    gains = rng.uniform(0.01, 0.02, 8)  # of the first image
    gamma = keras.Variable((gains - 1) / scaled[0], dtype="float32")
    beta = keras.Variable(np.zeros(8), dtype="float32")

    def call():
        return ops.gelu_grn(x, gamma.value, beta.value, 1e-6, WholeMap())

    y = to_numpy(keras.ops.cast(call(), "float32"))[0]
    # Off by 5e-4 with GELU and the result rounded to 8 bits, by 5e-3 with the statistics, too.
    assert np.abs(y - activated[0] * gains).max() < 2e-3 * np.abs(activated[0]).max()

    (gradient,) = gradients_of(
        lambda: keras.ops.sum(keras.ops.cast(call() * upstream, "float32")), [beta]
    )
    # torch rounds the sum of each image, whose errors cancel; not that of all images.
    np.testing.assert_allclose(gradient, wide_upstream.sum(axis=(0, 1, 2)), rtol=1e-3)


if keras.backend.backend() == "torch":  # elsewhere a compiled step leaves out what nobody takes

    @pytest.mark.parametrize(("trained", "num_sums"), [("x", 1), ("gamma", 1), ("beta", 1)])
    def test_gelu_with_grn_computes_no_gradient_of_what_is_frozen(
        rng, monkeypatch, trained, num_sums
    ):
        import torch

        from keras_convnextv2.layers.fast import torch as on_torch

        sums, slopes = [], []
        real_sum, real_slope = on_torch._sum_over_positions, on_torch.torch_gelu_gradient
        monkeypatch.setattr(
            on_torch, "_sum_over_positions", lambda x: sums.append(1) or real_sum(x)
        )
        monkeypatch.setattr(
            on_torch, "torch_gelu_gradient", lambda *a: slopes.append(1) or real_slope(*a)
        )
        shapes = {"x": (2, 3, 4, 5), "gamma": (5,), "beta": (5,)}
        tensors = {
            name: torch.tensor(rng.normal(size=shape), dtype=torch.float32)
            for name, shape in shapes.items()
        }
        tensors[trained].requires_grad_()
        ops.gelu_grn(*tensors.values(), 1e-6, WholeMap()).sum().backward()
        assert tensors[trained].grad is not None
        assert (len(sums), len(slopes)) == (num_sums, trained == "x")
