"""PyTorch's exported program, `.pt2`, written by PyTorch from plain operations."""

import dataclasses
import json

from keras_convnextv2.export.network import EPSILON
from keras_convnextv2.export.runtimes import METADATA_FILE


class TorchOperators:
    """The operators (`network.Operators`) as calls of PyTorch; values are tensors."""

    def __init__(self):
        import torch

        self._torch = torch
        self._functional = torch.nn.functional

    def convolution(self, name, x, kernel, bias, stride):
        return self._convolution(x, kernel.permute(3, 2, 0, 1), bias, stride=stride)

    def depthwise(self, name, x, kernel, bias):
        side, _, channels, _ = kernel.shape
        kernel = kernel.permute(2, 3, 0, 1)
        return self._convolution(x, kernel, bias, padding=side // 2, groups=channels)

    def linear(self, name, x, kernel, bias):
        return self._functional.linear(x, kernel.T, bias)

    def layer_norm(self, name, x, gamma, beta):
        return self._functional.layer_norm(x, x.shape[-1:], gamma, beta, EPSILON)

    def gelu(self, name, x):
        return self._functional.gelu(x)

    def response_norm(self, name, x, gamma, beta):
        norm = self._torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        response = norm / (norm.mean(-1, keepdim=True) + EPSILON)
        return x * (1.0 + gamma * response) + beta

    def add(self, name, x, y):
        return x + y

    def mean_over_positions(self, name, x):
        return x.mean((1, 2))

    def activation(self, name, x):
        return x.softmax(-1) if name == "softmax" else x.sigmoid()

    def _convolution(self, x, kernel, bias, **options):
        y = self._functional.conv2d(x.permute(0, 3, 1, 2), kernel, bias, **options)
        return y.permute(0, 2, 3, 1)


def write(network, path, settings):
    """Writes a `.pt2` file; to be called in a process that may import PyTorch.

    Where a size is open, images have to be of twice the total stride or more: PyTorch traces one
    row of features as a case of its own.

    Args:
        network: a `Network` in the terms of the artefact's input.
        path: str or Path.
        settings: the artefact's `Settings`.
    """
    import torch

    class Program(torch.nn.Module):
        def __init__(self):
            super().__init__()
            # Names of parameters have no slashes, and those with dots are of modules.
            self.arrays = torch.nn.ParameterDict(
                {name.replace("/", "_"): torch.tensor(a) for name, a in network.weights.items()}
            )

        def forward(self, images):
            weights = {name: self.arrays[name.replace("/", "_")] for name in network.weights}
            trained = dataclasses.replace(network, weights=weights)
            return trained.run(TorchOperators(), images.to(torch.float32))

    batch, height, width, channels = settings.input_shape
    total_stride = network.total_stride
    # Sizes of the example differ from one another and from 1, or they would be taken as fixed.
    example = (batch or 2, height or 4 * total_stride, width or 5 * total_stride, channels)
    open_axes = {}
    if batch is None:
        open_axes[0] = torch.export.Dim("batch", min=1)
    for axis, side in ((1, height), (2, width)):
        if side is None:
            open_axes[axis] = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        Program().eval(),
        (torch.zeros(example, dtype=getattr(torch, settings.dtype)),),
        dynamic_shapes=(open_axes,),
    )
    metadata = json.dumps(settings.metadata(network))
    torch.export.save(program, str(path), extra_files={METADATA_FILE: metadata})
