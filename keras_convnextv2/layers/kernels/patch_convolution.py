"""The convolution of patches that do not overlap, whose stride is its kernel's side."""

import keras

from keras_convnextv2.layers.kernels.custom_gradient import custom_gradient
from keras_convnextv2.layers.kernels.devices import on_cpu_or_not, runs_on_cpu
from keras_convnextv2.layers.kernels.linear import product, product_over_rows
from keras_convnextv2.layers.kernels.rearranged import reshape

# Numbers in a row of a patch from which on there is a product of matrices on TensorFlow and torch.
_WIDE_ROW = 128


def patch_convolution(x, kernel):
    """Convolution of stride p with a kernel of side p, "valid" padding.

    On a CPU it is a product of matrices where that is faster: always on JAX; on TensorFlow and
    torch for patches of many numbers, most of all in the strips of visible patches. Else, for
    float64, for sizes that are not known and where torch exports a program, it is the backend's
    own convolution.

    Args:
        x: (B, H, W, C).
        kernel: (p, p, C, D).

    Returns:
        (B, H // p, W // p, D).

    Raises:
        ValueError: the map's size is known, and smaller than the kernel.
    """
    backend = keras.backend.backend()
    side, _, channels, _ = kernel.shape
    if any(isinstance(size, int) and size < side for size in x.shape[1:3]):
        raise ValueError(
            f"A map of {x.shape[1]}x{x.shape[2]} is too small for a convolution of "
            f"{side}x{side}. Images must be at least as large as the model's total stride."
        )
    if None in x.shape[1:] or keras.backend.standardize_dtype(x.dtype) == "float64":
        return _convolution(x, kernel)
    if backend == "jax":
        return custom_gradient(_jax_forward, _jax_gradient)(x, kernel)
    if side * channels >= _WIDE_ROW and runs_on_cpu(x) and not _is_torch_exporting():
        return _product_of_patches(x, kernel)
    return _convolution(x, kernel)


def _is_torch_exporting():
    if keras.backend.backend() != "torch":
        return False
    import torch

    return torch.compiler.is_exporting()


def _convolution(x, kernel):
    if keras.backend.backend() == "torch":
        import torch

        # Keras (3.15) takes up to eight times as long for the same on a CPU. But torch (2.13) does
        # not compile this for open sizes, in which it cannot order the strides of the gradient.
        if not torch.compiler.is_compiling():
            y = torch.nn.functional.conv2d(
                x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), stride=kernel.shape[0]
            )
            return y.permute(0, 2, 3, 1)
    return keras.ops.conv(x, kernel, strides=kernel.shape[0], data_format="channels_last")


def _product_of_patches(x, kernel):
    ops = keras.ops
    _, height, width, channels = x.shape
    side, _, _, num_filters = kernel.shape
    rows, columns = height // side, width // side
    x = x[:, : rows * side, : columns * side]
    x = ops.transpose(reshape(x, (-1, rows, side, columns, side * channels)), (0, 1, 3, 2, 4))
    y = ops.matmul(reshape(x, (-1, side * side * channels)), _matrix(kernel))
    return reshape(y, (-1, rows, columns, num_filters))


def _jax_forward(x, kernel):
    return on_cpu_or_not(_jax_product_of_patches, _convolution)(x, kernel), ()


def _jax_gradient(upstream, tensors, *_):
    import jax

    def own_input_gradient(x, kernel, upstream):
        return jax.vjp(lambda x: _convolution(x, kernel), x)[1](upstream)[0]

    def own_kernel_gradient(x, kernel, upstream):
        return jax.vjp(lambda kernel: _convolution(x, kernel), kernel)[1](upstream)[0]

    # Two choices, so that one whose result nobody takes is not computed.
    return (
        on_cpu_or_not(_input_gradient, own_input_gradient)(*tensors, upstream),
        on_cpu_or_not(_kernel_gradient, own_kernel_gradient)(*tensors, upstream),
    )


def _jax_product_of_patches(x, kernel):
    side, _, _, width = kernel.shape
    y = product(_patches(x, side), _matrix(kernel), (1, 0)).astype(x.dtype)
    return y.reshape(x.shape[0], x.shape[1] // side, x.shape[2] // side, width)


def _input_gradient(x, kernel, upstream):
    import jax.numpy as jnp

    side, _, channels, width = kernel.shape
    batch, rows, columns, _ = upstream.shape
    patches = product(upstream.reshape(-1, width), _matrix(kernel), (1, 1)).astype(x.dtype)
    patches = patches.reshape(batch, rows, columns, side, side * channels)
    whole = patches.swapaxes(2, 3).reshape(batch, rows * side, columns * side, channels)
    cut = [(0, size - whole.shape[axis]) for axis, size in enumerate(x.shape)]
    return jnp.pad(whole, cut)


def _kernel_gradient(x, kernel, upstream):
    upstream = upstream.reshape(-1, upstream.shape[-1])
    gradient = product_over_rows(_patches(x, kernel.shape[0]), upstream)
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
    return reshape(kernel, (-1, kernel.shape[-1]))
