"""Faster ways on JAX, for CPUs.

"A step without it takes 1.05x" is measured in docs/performance.md, "What each path gains".

What was chosen because JAX's default backend is a CPU may still be lowered for another device: the
convolutions and products then become XLA's own, which is settled when a program is lowered.
"""

import functools

from keras_convnextv2.layers.fast import gelu_grn as fused
from keras_convnextv2.layers.fast import jax_kernel_gradient, jax_shifted
from keras_convnextv2.layers.fast.custom_gradient import custom_gradient
from keras_convnextv2.layers.fast.depthwise import with_own_gradient
from keras_convnextv2.layers.fast.jax_order import on_cpu_or_not


def device(tensor):
    """JAX's default device; a program may still be lowered for another."""
    import jax

    return jax.default_backend()


def is_of_known_size(x, *_):
    return None not in x.shape[1:]


def depthwise(x, kernel):
    """As `ops.depthwise`: a sum of shifted products. XLA's own takes tens of times as long.

    A step without it takes 1.45x (pretraining atto, where the decoder's alone is of a map).
    """
    return with_own_gradient(*_on_maps())(x, kernel)


def depthwise_on_strip(x, kernel, strip):
    """As `ops.depthwise_on_strip`: by windows where the strip has them, else by the map.

    A step without it takes 1.07x (pretraining atto), without windows 1.05x (tiny).
    """
    if not strip.has_windows_for(x, kernel):
        return with_own_gradient(*_on_maps(), strip.to_map, strip.enter)(x, kernel)
    convolve, kernel_gradient = _on_windows()
    return with_own_gradient(
        functools.partial(convolve, strip), functools.partial(kernel_gradient, strip)
    )(x, kernel)


@functools.cache
def _on_maps():
    """The convolution (map, kernel) and its kernel's gradient (map, gradient, k), float32.

    Made once, so that a program holds each function once for all blocks that share a shape.
    """
    import jax

    def kernel_gradient(x, gradient, size):
        return on_cpu_or_not(
            functools.partial(jax_kernel_gradient.by_map, size=size),
            functools.partial(_own_kernel_gradient, size=size),
        )(x, gradient)

    convolve = jax.jit(on_cpu_or_not(jax_shifted.convolve_map, _convolution))
    return convolve, jax.jit(kernel_gradient, static_argnums=2)


@functools.cache
def _on_windows():
    """The same of strips: (strip, x, kernel) -> as x, and (strip, x, gradient, k)."""
    import jax

    shifted = jax.jit(jax_shifted.convolve_windows)
    convolution = jax.jit(functools.partial(_convolution, padding="VALID"))
    shifted_gradient = jax.jit(jax_kernel_gradient.by_windows, static_argnums=2)
    own_gradient = jax.jit(_own_kernel_gradient_by_windows, static_argnums=2)

    def convolve(strip, x, kernel):
        return on_cpu_or_not(
            lambda x, kernel: shifted(jax_shifted.gather_blocks(strip, x), kernel),
            lambda x, kernel: convolution(jax_shifted.gather_windows(strip, x), kernel),
        )(x, kernel).reshape(x.shape)

    def kernel_gradient(strip, x, gradient, size):
        def by(function):
            return lambda x, gradient: function(
                jax_shifted.gather_windows(strip, x), gradient, size
            )

        return on_cpu_or_not(by(shifted_gradient), by(own_gradient))(x, gradient)

    return convolve, kernel_gradient


def _convolution(x, kernel, padding="SAME"):
    import jax

    return jax.lax.conv_general_dilated(
        x,
        kernel.reshape(*kernel.shape[:2], 1, -1),  # one input channel a group
        window_strides=(1, 1),
        padding=padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _own_kernel_gradient(x, gradient, size, padding="SAME"):
    import jax
    import jax.numpy as jnp

    convolution = functools.partial(_convolution, x, padding=padding)
    kernel = jnp.zeros((size, size, x.shape[-1], 1), x.dtype)
    return jax.vjp(convolution, kernel)[1](gradient)[0].astype(jnp.float32)


def _own_kernel_gradient_by_windows(windows, gradient, size):
    side = windows.shape[1] - size + 1
    gradient = gradient.reshape(-1, side, side, gradient.shape[-1])
    return _own_kernel_gradient(windows, gradient, size, padding="VALID")


def gelu_grn(x, gamma, beta, epsilon, region):
    """As `ops.gelu_grn`; GELU by erf, where `jax.nn.gelu`, by erfc, takes three times as long.

    A step without it takes 1.11x the time and 1.39x the memory (pretraining tiny), 1.15x and 1.47x
    (fine-tuning atto).
    """
    return fused.recomputing(lambda x: x * fused.normal_cdf(x), x, gamma, beta, epsilon, region)


def linear(x, kernel, bias):
    """As `ops.linear`, for bfloat16: products asked for in float32, rounded once.

    A product of two such matrices that is to be bfloat16 itself, XLA on a CPU computes in float32
    from widened copies; one that is to be float32 goes to the processor's own instructions. A step
    without it takes 1.53x (pretraining tiny).
    """

    def forward(x, kernel, bias):
        return (_product(x, kernel, (1, 0)) + bias.astype("float32")).astype(x.dtype), ()

    def gradient(upstream, tensors, *_):
        x, kernel, bias = tensors
        return (
            _product(upstream, kernel, (1, 1)).astype(x.dtype),
            _product_over_rows(x, upstream).astype(kernel.dtype),
            upstream.astype("float32").sum(axis=0).astype(bias.dtype),
        )

    rows = x.reshape(-1, x.shape[-1])
    y = custom_gradient(forward, gradient)(rows, kernel, bias)
    return y.reshape(*x.shape[:-1], kernel.shape[1])


def _product(x, y, axes):
    """The float32 product of two matrices, over an axis of each."""
    import jax

    contracted = ((axes[:1], axes[1:]), ((), ()))
    return jax.lax.dot_general(x, y, contracted, preferred_element_type="float32")


def _product_over_rows(x, y):
    """x.T @ y, float32, for matrices of many rows."""
    import jax

    plain = functools.partial(_product, axes=(0, 0))
    if len(jax.devices()) > 1:  # the rows may be spread over them
        return plain(x, y)
    return on_cpu_or_not(_product_on_cpu, plain)(x, y)


def _product_on_cpu(x, y):
    """The processor's instructions want the first matrix with its rows in order. To turn it costs
    least for the narrower one. XLA must not take the turning into the product, where it would be
    a matter of which index comes first: as one axis a matrix has an order of its own.
    """
    import jax

    if x.shape[1] > y.shape[1]:
        return jax.lax.optimization_barrier(_product_on_cpu(y, x)).T
    turned = jax.lax.optimization_barrier(x.T.reshape(-1)).reshape(x.shape[::-1])
    return _product(turned, y, (1, 0))


def patch_convolution(x, kernel):
    """As `ops.patch_convolution`, as a product of matrices.

    A step without it takes 1.06x (fine-tuning atto), 1.15x (pretraining tiny in bfloat16).
    """

    def forward(x, kernel):
        return on_cpu_or_not(_product_of_patches, _patch_convolution)(x, kernel), ()

    def gradient(upstream, tensors, *_):
        import jax

        def own_input_gradient(x, kernel, upstream):
            return jax.vjp(lambda x: _patch_convolution(x, kernel), x)[1](upstream)[0]

        def own_kernel_gradient(x, kernel, upstream):
            return jax.vjp(lambda kernel: _patch_convolution(x, kernel), kernel)[1](upstream)[0]

        # Two choices, so that one whose result nobody takes is not computed.
        return (
            on_cpu_or_not(_patches_gradient, own_input_gradient)(*tensors, upstream),
            on_cpu_or_not(_patch_kernel_gradient, own_kernel_gradient)(*tensors, upstream),
        )

    return custom_gradient(forward, gradient)(x, kernel)


def _patch_convolution(x, kernel):
    import keras

    return keras.ops.conv(x, kernel, strides=kernel.shape[0], data_format="channels_last")


def _product_of_patches(x, kernel):
    side, _, _, width = kernel.shape
    y = _product(_patches(x, side), _matrix(kernel), (1, 0)).astype(x.dtype)
    return y.reshape(x.shape[0], x.shape[1] // side, x.shape[2] // side, width)


def _patches_gradient(x, kernel, upstream):
    import jax.numpy as jnp

    side, _, channels, width = kernel.shape
    batch, rows, columns, _ = upstream.shape
    patches = _product(upstream.reshape(-1, width), _matrix(kernel), (1, 1)).astype(x.dtype)
    patches = patches.reshape(batch, rows, columns, side, side * channels)
    whole = patches.swapaxes(2, 3).reshape(batch, rows * side, columns * side, channels)
    cut = [(0, size - whole.shape[axis]) for axis, size in enumerate(x.shape)]
    return jnp.pad(whole, cut)


def _patch_kernel_gradient(x, kernel, upstream):
    upstream = upstream.reshape(-1, upstream.shape[-1])
    gradient = _product_over_rows(_patches(x, kernel.shape[0]), upstream)
    return gradient.reshape(kernel.shape).astype(kernel.dtype)


def _patches(x, side):
    """(B * rows * columns, side * side * C), each patch row by row.

    Rows of patches put side by side: as one transposition XLA copies them value by value.
    """
    import jax.numpy as jnp

    batch, height, width, channels = x.shape
    rows, columns = height // side, width // side
    x = x[:, : rows * side, : columns * side]
    x = x.reshape(batch * rows, side, columns, side * channels)
    patches = jnp.concatenate([x[:, row] for row in range(side)], axis=-1)
    return patches.reshape(batch * rows * columns, side * side * channels)


def _matrix(kernel):
    return kernel.reshape(-1, kernel.shape[-1])


def take_rows(x, numbers):
    """As `ops.take_rows`, without instructions for negative and too large numbers.

    A step's program without it has 8 % more of them (pretraining tiny), each about 4 KB.
    """
    import jax

    return jax.vmap(
        lambda x, numbers: x.at[numbers].get(mode="promise_in_bounds", wrap_negative_indices=False)
    )(x, numbers)


def computed_once(numbers):
    """As `ops.computed_once`: as the result of an operation of its own.

    XLA on a CPU computes the arguments of a gather within its loop: what numbers segments of a
    thousand values, again for each value. It takes no sort into a loop, and this is one, within
    each image, by keys that are in order already. A step's program without it has 6 % more
    instructions, each about 4 KB of memory (pretraining tiny).
    """
    import jax

    def as_sorted(numbers):
        keys = jax.lax.broadcasted_iota("int32", numbers.shape, 1)
        return jax.lax.sort((keys, numbers), dimension=1, num_keys=1)[1]

    return on_cpu_or_not(as_sorted, lambda numbers: numbers)(numbers)


def sum_of_squares(tensors):
    """As `ops.sum_of_squares`, with vectors joined: a model has hundreds of them, all small.

    A step's program without it has 6 % more instructions, each about 4 KB (pretraining tiny).
    """
    import jax.numpy as jnp

    vectors = [x.astype("float32") for x in tensors if x.ndim == 1]
    others = [x for x in tensors if x.ndim != 1]
    joined = [jnp.concatenate(vectors)] if vectors else []
    squares = (jnp.square(x.astype("float32")).sum() for x in [*others, *joined])
    return sum(squares, start=jnp.zeros((), "float32"))
