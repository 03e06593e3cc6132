"""FCMAE by coordinates, from the layout of an official self-trained pretraining checkpoint.

That is https://github.com/facebookresearch/ConvNeXt-V2: an encoder of MinkowskiEngine's sparse
convolutions, a dense decoder. One difference: response norm is per image, as in the authors' JAX
code; their sparse one takes the norm over the whole batch (upstream issue 86).
"""

import itertools
import math

import numpy as np

from tests.reference.hidden_loss import hidden_loss
from tests.reference.sparse_block import layer_norm, sparse_block, visible_positions


def make_checkpoint(rng, depths, widths, decoder_width, decoder_depth=1, stem_stride=4, channels=3):
    """{key: float32 array}, random, every part far from the identity."""
    checkpoint = {}

    def add(key, *shape, scale=0.5, shift=0.0):
        checkpoint[key] = (shift + scale * rng.standard_normal(shape)).astype("float32")

    def add_layer(path, shape, fan_in, kind="weight", bias_shape=None):
        add(f"{path}.{kind}", *shape, scale=1 / math.sqrt(fan_in))
        add(f"{path}.bias", *(bias_shape or shape[:1]))

    def add_norm(path, width):
        add(f"{path}.weight", width, scale=0.2, shift=1.0)
        add(f"{path}.bias", width)

    def add_pointwise(path, width, grn_shape, linear=""):
        add_layer(f"{path}.pwconv1{linear}", (4 * width, width), width)
        add(f"{path}.grn.gamma", *grn_shape)
        add(f"{path}.grn.beta", *grn_shape)
        add_layer(f"{path}.pwconv2{linear}", (width, 4 * width), 4 * width)

    downsample = "encoder.downsample_layers"
    stem_shape = (widths[0], channels, stem_stride, stem_stride)
    add_layer(f"{downsample}.0.0", stem_shape, channels * stem_stride**2)
    add_norm(f"{downsample}.0.1", widths[0])
    for stage, (before, after) in enumerate(itertools.pairwise(widths), start=1):
        add_norm(f"{downsample}.{stage}.0.ln", before)
        add_layer(f"{downsample}.{stage}.1", (4, before, after), 4 * before, "kernel", (1, after))
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        for index in range(depth):
            path = f"encoder.stages.{stage}.{index}"
            add_layer(f"{path}.dwconv", (49, width), 49, "kernel", (1, width))
            add_norm(f"{path}.norm.ln", width)
            add_pointwise(path, width, (1, 4 * width), ".linear")

    add_layer("proj", (decoder_width, widths[-1], 1, 1), widths[-1])
    add("mask_token", 1, decoder_width, 1, 1)
    for index in range(decoder_depth):
        path = f"decoder.{index}"
        add_layer(f"{path}.dwconv", (decoder_width, 1, 7, 7), 49)
        add_norm(f"{path}.norm", decoder_width)
        add_pointwise(path, decoder_width, (1, 1, 1, 4 * decoder_width))
    num_values = (8 * stem_stride) ** 2 * channels
    add_layer("pred", (num_values, decoder_width, 1, 1), decoder_width)
    return checkpoint


def loss(checkpoint, images, hidden):
    """FCMAE's loss of images (B, H, W, C) and masks (B, h, w), 1 = hidden."""
    predictions = [
        prediction(checkpoint, image, image_hidden)
        for image, image_hidden in zip(images, hidden, strict=True)
    ]
    return hidden_loss(images, np.stack(predictions), hidden)


def prediction(checkpoint, image, hidden):
    """The predicted pixels (h, w, P * P * C), float64, of an image (H, W, C) and its mask (h, w).

    1 = hidden; the values of a patch are by row, column, channel.
    """
    visible = encode(checkpoint, image, hidden)
    x = np.empty((*hidden.shape, checkpoint["mask_token"].size))
    x[:] = checkpoint["mask_token"].reshape(-1)
    for position, vector in visible.items():
        x[position] = pointwise(checkpoint, "proj", vector)
    for path in block_paths(checkpoint, "decoder"):
        kernel = checkpoint[f"{path}.dwconv.weight"].transpose(2, 3, 0, 1)  # (7, 7, D, 1)
        weights = block_weights(checkpoint, path, kernel)
        x = as_array(sparse_block(weights, x, np.zeros_like(hidden)), x.shape[:2])
    return np.array([[pointwise(checkpoint, "pred", vector) for vector in row] for row in x])


def encode(checkpoint, image, hidden):
    """{(row, column): (C,)} of the visible patches."""
    visible = stem(checkpoint, image, hidden)
    for stage in range(4):
        if stage > 0:
            visible = downsample(checkpoint, f"encoder.downsample_layers.{stage}", visible)
        shape = [length * 2 ** (3 - stage) for length in hidden.shape]
        for path in block_paths(checkpoint, f"encoder.stages.{stage}"):
            kernel = unflatten(checkpoint[f"{path}.dwconv.kernel"])[..., None]  # (7, 7, C, 1)
            weights = block_weights(checkpoint, path, kernel, ".ln", ".linear")
            visible = sparse_block(weights, as_array(visible, shape), hidden)
    return visible


def stem(checkpoint, image, hidden):
    path = "encoder.downsample_layers.0"
    weight = checkpoint[f"{path}.0.weight"]  # (C, channels, s, s)
    stride = weight.shape[-1]
    rows, columns = image.shape[0] // stride, image.shape[1] // stride
    # (rows, s, columns, s, channels), then (rows, columns, s * s * channels)
    windows = image.reshape(rows, stride, columns, stride, -1).swapaxes(1, 2)
    windows = windows.reshape(rows, columns, -1)
    weight = weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)  # (C, s * s * channels)
    return {
        position: normalize(checkpoint, f"{path}.1", weight @ window + checkpoint[f"{path}.0.bias"])
        for position, window in visible_positions(windows, hidden).items()
    }


def downsample(checkpoint, path, visible):
    """Masks are by whole patches, so that all four inputs of an output are visible, or none."""
    visible = {p: normalize(checkpoint, f"{path}.0.ln", vector) for p, vector in visible.items()}
    kernel = unflatten(checkpoint[f"{path}.1.kernel"])  # (2, 2, in, out)
    return {
        (row, column): checkpoint[f"{path}.1.bias"][0]
        + sum(visible[2 * row + h, 2 * column + w] @ kernel[h, w] for h, w in np.ndindex(2, 2))
        for row, column in {(row // 2, column // 2) for row, column in visible}
    }


def unflatten(kernel):
    """Minkowski's (k * k, ...) as (k, k, ...): it counts rows fastest, then columns."""
    size = math.isqrt(len(kernel))
    return np.array([[kernel[w * size + h] for w in range(size)] for h in range(size)])


def block_paths(checkpoint, prefix):
    paths = (f"{prefix}.{index}" for index in itertools.count())
    return itertools.takewhile(lambda path: f"{path}.dwconv.bias" in checkpoint, paths)


def block_weights(checkpoint, path, depthwise_kernel, norm="", linear=""):
    """The weights of `sparse_block`."""
    return {
        "depthwise/kernel": depthwise_kernel,
        "depthwise/bias": checkpoint[f"{path}.dwconv.bias"].reshape(-1),
        "norm/gamma": checkpoint[f"{path}.norm{norm}.weight"],
        "norm/beta": checkpoint[f"{path}.norm{norm}.bias"],
        "expand/kernel": checkpoint[f"{path}.pwconv1{linear}.weight"].T,
        "expand/bias": checkpoint[f"{path}.pwconv1{linear}.bias"],
        "response_norm/gamma": checkpoint[f"{path}.grn.gamma"].reshape(-1),
        "response_norm/beta": checkpoint[f"{path}.grn.beta"].reshape(-1),
        "project/kernel": checkpoint[f"{path}.pwconv2{linear}.weight"].T,
        "project/bias": checkpoint[f"{path}.pwconv2{linear}.bias"],
    }


def as_array(vectors, shape):
    """(H, W, C), NaN where there is no vector: whoever reads one of those shows it."""
    array = np.full((*shape, len(next(iter(vectors.values())))), np.nan)
    for position, vector in vectors.items():
        array[position] = vector
    return array


def normalize(checkpoint, path, vector):
    return layer_norm(vector, checkpoint[f"{path}.weight"], checkpoint[f"{path}.bias"])


def pointwise(checkpoint, path, vector):
    """A 1x1 convolution at one position."""
    return checkpoint[f"{path}.weight"][:, :, 0, 0] @ vector + checkpoint[f"{path}.bias"]
