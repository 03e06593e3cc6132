"""A ConvNeXt V2 block and what stands before it in NumPy, float64, part by part."""

import keras
import numpy as np
import scipy.special


def value(weight):
    return keras.ops.convert_to_numpy(weight.value).astype("float64")


def normalised(norm, x):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return x * value(norm.gamma) + value(norm.beta)


def convolved(conv, x):
    """A convolution whose stride is its kernel's side."""
    side = conv.kernel.shape[0]
    batch, height, width, channels = x.shape
    patches = x.reshape(batch, height // side, side, width // side, side, channels)
    return np.einsum("bhiwjc,ijcd->bhwd", patches, value(conv.kernel)) + value(conv.bias)


def entering(layer, x):
    """What the stem or a downsampling gives."""
    if layer.name == "stem":
        conv, norm = layer.layers
        return normalised(norm, convolved(conv, x))
    norm, conv = layer.layers
    return convolved(conv, normalised(norm, x))


def gelu_of(block, x):
    """The features after GELU, position by position where the block convolves."""
    kernel = value(block.depthwise.kernel)[..., 0]
    padded = np.pad(x, [(0, 0), (3, 3), (3, 3), (0, 0)])
    y = np.zeros_like(x)
    for row in range(7):
        for column in range(7):
            window = padded[:, row : row + x.shape[1], column : column + x.shape[2]]
            y += window * kernel[row, column]
    y = normalised(block.norm, y + value(block.depthwise.bias))
    y = y @ value(block.expand.kernel) + value(block.expand.bias)
    return y * 0.5 * (1 + scipy.special.erf(y / np.sqrt(2)))


def relative_of(gelu):
    """N of GRN, (B, 1, 1, C)."""
    size = np.sqrt((gelu**2).sum((1, 2), keepdims=True))
    return size / (size.mean(-1, keepdims=True) + 1e-6)


def grn_of(grn, gelu, relative):
    return value(grn.gamma) * gelu * relative + value(grn.beta) + gelu


def output_of(block, x, response):
    """What the block makes of the features after its response."""
    y = response @ value(block.project.kernel) + value(block.project.bias)
    if block.layer_scale is not None:
        y = y * value(block.layer_scale.weights[0])
    return x + y
