"""A ConvNeXt V2 block as a sparse convolution by coordinates: loops over what is visible."""

import math

import numpy as np


def sparse_block(weights, x, hidden):
    """One image through one block.

    Args:
        weights: {"depthwise/kernel": (k, k, C, 1), ...}, in the layout of Keras.
        x: (H, W, C).
        hidden: (h, w), 1 = hidden, with h dividing H and w dividing W.

    Returns:
        {(row, column): (C,)} of the visible positions, float64.
    """
    visible = visible_positions(x, hidden)
    expanded = {
        position: gelu(
            layer_norm(
                depthwise_at(position, visible, weights["depthwise/kernel"][..., 0])
                + weights["depthwise/bias"],
                weights["norm/gamma"],
                weights["norm/beta"],
            )
            @ weights["expand/kernel"]
            + weights["expand/bias"]
        )
        for position in visible
    }
    normed = response_norm(
        expanded, weights["response_norm/gamma"], weights["response_norm/beta"], 1e-6
    )
    return {
        position: visible[position]
        + normed[position] @ weights["project/kernel"]
        + weights["project/bias"]
        for position in visible
    }


def visible_positions(x, hidden):
    """{(row, column): (C,)} of one image (H, W, C), without the hidden patches."""
    height, width, _ = x.shape
    patch_height, patch_width = height // hidden.shape[0], width // hidden.shape[1]
    return {
        (row, column): x[row, column].astype("float64")
        for row in range(height)
        for column in range(width)
        if not hidden[row // patch_height, column // patch_width]
    }


def depthwise_at(position, visible, kernel):
    """The sum over the neighbours that exist, for a kernel (k, k, C)."""
    half = len(kernel) // 2
    total = np.zeros(kernel.shape[-1])
    for row_offset in range(-half, half + 1):
        for column_offset in range(-half, half + 1):
            neighbour = (position[0] + row_offset, position[1] + column_offset)
            if neighbour in visible:
                total += visible[neighbour] * kernel[row_offset + half, column_offset + half]
    return total


def layer_norm(vector, gamma, beta):
    return (vector - vector.mean()) / math.sqrt(vector.var() + 1e-6) * gamma + beta


def gelu(vector):
    return np.array([0.5 * value * (1 + math.erf(value / math.sqrt(2))) for value in vector])


def response_norm(vectors, gamma, beta, epsilon):
    """GRN over the positions of {(row, column): (C,)}."""
    num_channels = len(gamma)
    norms = [
        math.sqrt(sum(vector[channel] ** 2 for vector in vectors.values()))
        for channel in range(num_channels)
    ]
    scale = np.array(norms) / (sum(norms) / num_channels + epsilon)
    return {
        position: gamma * (vector * scale) + beta + vector for position, vector in vectors.items()
    }
