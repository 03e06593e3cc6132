"""Writes fcmae.npz beside this file: what FCMAE must compute, from an independent program.

Plain PyTorch in float64, without Keras and without this package. Holds the weights (in the layout
and under the paths of Keras), images and masks, and the losses of three AdamW steps on that batch,
the first step's gradients and the weights after the third.

    python tests/golden/make_golden.py
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

DEPTHS, WIDTHS = (1, 1, 2, 1), (4, 6, 8, 12)
DECODER_WIDTH = 8
PATCH_SIZE = 8  # stem stride 1
IMAGE_SHAPE = (16, 24, 3)
HIDDEN = [[[1, 0, 1], [1, 1, 0]], [[0, 0, 1], [1, 0, 1]], [[1, 1, 1], [1, 0, 1]]]
LEARNING_RATE, WEIGHT_DECAY, BETAS = 1e-2, 0.5, (0.9, 0.95)
NUM_STEPS = 3
KERAS_EPSILON = 1e-7


def make_weights(generator):
    """{path: tensor}, in PyTorch's layout: kernels (out, in) and (out, in / groups, k, k)."""
    weights = {}

    def add(path, *shape, scale=0.5, shift=0.0):
        values = shift + scale * generator.standard_normal(shape)
        # Rounded to float32, so that what is stored is exactly what is used.
        weights[path] = torch.tensor(values.astype("float32"), dtype=torch.float64)

    def add_kernel(path, *shape):
        add(f"{path}/kernel", *shape, scale=1 / np.sqrt(np.prod(shape[1:])))
        add(f"{path}/bias", shape[0])

    def add_norm(path, width):
        add(f"{path}/gamma", width, scale=0.2, shift=1.0)
        add(f"{path}/beta", width)

    def add_block(path, width):
        add_kernel(f"{path}/depthwise", width, 1, 7, 7)
        add_norm(f"{path}/norm", width)
        add_kernel(f"{path}/expand", 4 * width, width)
        add(f"{path}/response_norm/gamma", 4 * width)
        add(f"{path}/response_norm/beta", 4 * width)
        add_kernel(f"{path}/project", width, 4 * width)

    add_kernel("stem/conv", WIDTHS[0], IMAGE_SHAPE[-1], 1, 1)
    add_norm("stem/norm", WIDTHS[0])
    for stage, (depth, width) in enumerate(zip(DEPTHS, WIDTHS, strict=True)):
        if stage > 0:
            add_norm(f"stage{stage}_downsample/norm", WIDTHS[stage - 1])
            add_kernel(f"stage{stage}_downsample/conv", width, WIDTHS[stage - 1], 2, 2)
        for block in range(depth):
            add_block(f"stage{stage}_block{block}", width)
    add("decoder/mask_token", DECODER_WIDTH)
    add_kernel("decoder/project", DECODER_WIDTH, WIDTHS[-1])
    add_block("decoder/block0", DECODER_WIDTH)
    add_kernel("decoder/predict_pixels", PATCH_SIZE**2 * IMAGE_SHAPE[-1], DECODER_WIDTH)
    return weights


def convolve(weights, path, x, **options):
    return functional.conv2d(x, weights[f"{path}/kernel"], weights[f"{path}/bias"], **options)


def linear(weights, path, x):
    """x: (..., in)."""
    return functional.linear(x, weights[f"{path}/kernel"], weights[f"{path}/bias"])


def norm(weights, path, x):
    """x: (..., C)."""
    gamma, beta = weights[f"{path}/gamma"], weights[f"{path}/beta"]
    return functional.layer_norm(x, gamma.shape, gamma, beta, 1e-6)


def block(weights, path, x, visible):
    """x: (B, C, H, W); visible: (B, 1, H, W), 1 = visible."""
    y = convolve(weights, f"{path}/depthwise", x * visible, padding=3, groups=x.shape[1]) * visible
    y = norm(weights, f"{path}/norm", y.permute(0, 2, 3, 1))  # (B, H, W, C)
    y = functional.gelu(linear(weights, f"{path}/expand", y))
    energy = torch.linalg.vector_norm(y * visible.permute(0, 2, 3, 1), dim=(1, 2), keepdim=True)
    response = energy / (energy.mean(dim=-1, keepdim=True) + 1e-6)
    gamma, beta = (weights[f"{path}/response_norm/{name}"] for name in ("gamma", "beta"))
    y = gamma * (y * response) + beta + y
    return x + linear(weights, f"{path}/project", y).permute(0, 3, 1, 2)


def loss_of(weights, images, hidden):
    """images: (B, H, W, C); hidden: (B, h, w), 1 = hidden."""
    visible = (1 - hidden)[:, None].to(images.dtype)  # (B, 1, h, w)

    def visible_at(x):
        return functional.interpolate(visible, size=x.shape[2:], mode="nearest")

    x = convolve(weights, "stem/conv", images.permute(0, 3, 1, 2))
    x = norm(weights, "stem/norm", x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    for stage, depth in enumerate(DEPTHS):
        if stage > 0:
            x = norm(weights, f"stage{stage}_downsample/norm", x.permute(0, 2, 3, 1))
            x = convolve(weights, f"stage{stage}_downsample/conv", x.permute(0, 3, 1, 2), stride=2)
        for index in range(depth):
            x = block(weights, f"stage{stage}_block{index}", x, visible_at(x))

    x = linear(weights, "decoder/project", x.permute(0, 2, 3, 1))  # (B, h, w, C)
    x = torch.where(hidden[..., None] == 1, weights["decoder/mask_token"], x)
    x = block(weights, "decoder/block0", x.permute(0, 3, 1, 2), torch.ones_like(visible))
    prediction = linear(weights, "decoder/predict_pixels", x.permute(0, 2, 3, 1))

    # (B, h, w, C, P, P), then (B, h, w, P * P * C)
    patches = images.unfold(1, PATCH_SIZE, PATCH_SIZE).unfold(2, PATCH_SIZE, PATCH_SIZE)
    patches = patches.permute(0, 1, 2, 4, 5, 3).flatten(3)
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    targets = (patches - mean) / torch.sqrt(variance + 1e-6)
    error = ((prediction - targets) ** 2).mean(dim=-1)
    return (error * hidden).sum() / hidden.sum()


def take_steps(weights, images, hidden):
    """The losses of all steps and the gradients of the first; `weights` are changed in place."""
    for weight in weights.values():
        weight.requires_grad_(True)
    groups = [
        {"params": [w for w in weights.values() if w.ndim >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [w for w in weights.values() if w.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS)
    losses = []
    for step in range(1, NUM_STEPS + 1):
        for group in optimizer.param_groups:
            # Keras adds its epsilon before the bias correction of the second moment.
            group["eps"] = KERAS_EPSILON / np.sqrt(1 - BETAS[1] ** step)
        optimizer.zero_grad()
        loss = loss_of(weights, images, hidden)
        loss.backward()
        if step == 1:
            gradients = {path: weight.grad.clone() for path, weight in weights.items()}
        optimizer.step()
        losses.append(loss.item())
    return losses, gradients


def keras_layout(path, tensor):
    array = tensor.detach().numpy()
    if array.ndim == 4 and "depthwise" in path:
        array = array.transpose(2, 3, 0, 1)
    elif array.ndim == 4:
        array = array.transpose(2, 3, 1, 0)
    elif array.ndim == 2:
        array = array.T
    return array.astype("float32")


def main():
    generator = np.random.default_rng(2301_00808)
    weights = make_weights(generator)
    images = generator.standard_normal((len(HIDDEN), *IMAGE_SHAPE)).astype("float32")
    hidden = np.array(HIDDEN, "int32")
    arrays = {"images": images, "hidden": hidden}
    arrays |= {f"weights/{path}": keras_layout(path, weight) for path, weight in weights.items()}
    losses, gradients = take_steps(
        weights, torch.tensor(images, dtype=torch.float64), torch.tensor(hidden)
    )
    arrays["losses"] = np.array(losses)
    for path, weight in weights.items():
        arrays[f"gradients/{path}"] = keras_layout(path, gradients[path])
        arrays[f"stepped/{path}"] = keras_layout(path, weight)
    np.savez_compressed(Path(__file__).with_name("fcmae.npz"), **arrays)


if __name__ == "__main__":
    main()
