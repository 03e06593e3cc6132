"""Random weights at which every part of a model matters."""

import numpy as np


def randomize(model, rng):
    """Fills the trainable weights of a layer or model: GRN is far from its identity start."""
    for weight in model.trainable_weights:
        noise = rng.normal(size=tuple(weight.shape))
        if weight.name == "kernel":
            depthwise = len(weight.shape) == 4 and weight.shape[-1] == 1
            fan_in = np.prod(weight.shape[: 2 if depthwise else -1])
            noise = noise / np.sqrt(fan_in)
        elif weight.name == "gamma" and "response_norm" not in weight.path:
            noise = 1 + 0.2 * noise  # LayerNorm
        else:
            noise = 0.5 * noise
        weight.assign(noise.astype("float32"))


def named_weights(model):
    """{path: NumPy array} of a model's trainable weights."""
    return {weight.path: weight.numpy() for weight in model.trainable_weights}
