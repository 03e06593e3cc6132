"""A depthwise convolution with a gradient of its own, made of two functions of a backend."""

import keras

from keras_convnextv2.layers.fast.custom_gradient import custom_gradient, recomputed_after


def unchanged(x):
    return x


def with_own_gradient(convolve, kernel_gradient, to_map=unchanged, from_map=unchanged):
    """The convolution (x, kernel (k, k, C, 1)) -> as x, whose gradient keeps x alone.

    Args:
        convolve: (map, kernel) -> map.
        kernel_gradient: (map, gradient for the convolution's result, k) -> (k, k, C, 1).
        to_map, from_map: from the form of x to that of a map and back; each is linear, and its
            transpose is the other. The map is not kept for the gradient but made again.
    """

    def forward(x, kernel):
        return from_map(convolve(to_map(x), kernel)), ()

    def gradient(upstream, tensors, _, needed):
        x, kernel = tensors
        upstream_map = to_map(upstream)
        gradients = [None, None]
        if needed[0]:
            turned = keras.ops.flip(kernel, (0, 1))
            gradients[0] = from_map(convolve(upstream_map, turned))
        if needed[1]:
            x_map = to_map(recomputed_after(upstream, x))
            gradient = kernel_gradient(x_map, upstream_map, kernel.shape[0])
            gradients[1] = keras.ops.cast(gradient, kernel.dtype)
        return gradients

    return custom_gradient(forward, gradient)
