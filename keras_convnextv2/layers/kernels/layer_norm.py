"""LayerNorm over channels, for torch."""

import keras


def gains_from_own_layer_norm(x):
    """Whether `layer_norm` is the faster way for `x`.

    Keras (3.15) widens features to float32 first. torch does so as it reads them, but only on a CPU
    does it take features of half precision with float32 weights.
    """
    if keras.backend.backend() != "torch":
        return False
    return x.device.type == "cpu" or keras.backend.standardize_dtype(x.dtype) == "float32"


def layer_norm(x, gamma, beta, epsilon):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, computed in float32 at least.

    Args:
        x: (B, H, W, C).
        gamma, beta: (C,).
        epsilon: float.

    Returns:
        (B, H, W, C) in the dtype of `x`.
    """
    import torch

    return torch.nn.functional.layer_norm(x, x.shape[-1:], gamma, beta, epsilon)
