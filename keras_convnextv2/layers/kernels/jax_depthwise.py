"""A depthwise convolution for JAX: XLA's own, but on CPU a sum of shifted products.

Which of the two is settled when a program is lowered for a device, so that one lowered on a CPU
for another device holds XLA's convolution.

On CPU XLA computes a depthwise convolution one output at a time, and its gradient slower still.
Written as k * k multiply-adds of shifted views, the forward pass and the input's gradient become
one loop each.
"""

import functools

from keras_convnextv2.layers.kernels import jax_kernel_gradient, jax_shifted
from keras_convnextv2.layers.kernels.devices import on_cpu_or_not


@functools.cache
def operations(method):
    """The convolution and its kernel's gradient, functions made at first use.

    They are (x (B, H, W, C), kernel (k, k, C, 1)) -> (B, H, W, C), and (x, gradient, k) -> the
    gradient of the kernel, float32.

    Args:
        method: "auto", or "shifted" for the CPU's way on every device.
    """
    import jax

    choose = _as_on_cpu if method == "shifted" else on_cpu_or_not
    convolve = choose(jax_shifted.convolve_map, _convolution)

    def kernel_gradient(x, gradient, size):
        return choose(
            functools.partial(jax_kernel_gradient.by_map, size=size),
            functools.partial(_own_kernel_gradient, size=size),
        )(x, gradient)

    return jax.jit(convolve), jax.jit(kernel_gradient, static_argnums=2)


@functools.cache
def operations_on_windows():
    """The same by the windows of a `Layout`.

    They are (to_windows, x, kernel) -> as x, and (to_windows, x, gradient, k) -> the gradient of
    the kernel, with `x` and the gradient in the layout.
    """
    import jax

    shifted = jax.jit(jax_shifted.convolve_windows)
    convolution = jax.jit(functools.partial(_convolution, padding="VALID"))
    shifted_gradient = jax.jit(jax_kernel_gradient.by_windows, static_argnums=2)
    own_gradient = jax.jit(_own_kernel_gradient_by_windows, static_argnums=2)

    def convolve(to_windows, x, kernel):
        return on_cpu_or_not(
            lambda x, kernel: shifted(jax_shifted.gather_blocks(to_windows, x), kernel),
            lambda x, kernel: convolution(to_windows(x), kernel),
        )(x, kernel).reshape(x.shape)

    def kernel_gradient(to_windows, x, gradient, size):
        def on_cpu(x, gradient):
            windows = jax_kernel_gradient.gather_whole_groups(to_windows, x, size)
            return shifted_gradient(windows, gradient, size)

        return on_cpu_or_not(
            on_cpu, lambda x, gradient: own_gradient(to_windows(x), gradient, size)
        )(x, gradient)

    return convolve, kernel_gradient


def _as_on_cpu(on_cpu, elsewhere):
    return on_cpu


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
