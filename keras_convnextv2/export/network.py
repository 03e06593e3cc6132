"""What a model computes, apart from Keras: sizes, weights as NumPy arrays, and the one order.

Each target format gives the operators (`Operators`); `Network.run` says in which order they run.
"""

import dataclasses
import json
from pathlib import Path
from typing import Protocol

import keras
import numpy as np

from keras_convnextv2.export.errors import ExportError
from keras_convnextv2.models import ConvNeXtV2Backbone, ConvNeXtV2Classifier, Variant
from keras_convnextv2.models.variants import PAPER_BLOCK
from keras_convnextv2.weights.model_weights import named_weights

EPSILON = 1e-6  # of all LayerNorms and GRNs
_ACTIVATIONS = ("linear", "softmax", "sigmoid")


@dataclasses.dataclass(frozen=True)
class Network:
    """A backbone or a classifier as sizes and arrays.

    Args:
        variant: a `Variant`.
        stem_stride: int, also the side of the stem's kernel.
        image_shape: (height, width, channels); height and width may be None.
        num_classes: int, or None for a backbone.
        activation: "linear", "softmax" or "sigmoid", of a classifier's output.
        weights: {name: float32 array}, as `stage0_block0/depthwise/kernel`. An affine part of a
            norm that is not there has been folded into the layer after it.
    """

    variant: Variant
    stem_stride: int
    image_shape: tuple
    num_classes: int | None
    activation: str
    weights: dict

    @property
    def total_stride(self):
        """Pixels a side that become one position of the output."""
        return 8 * self.stem_stride

    def run(self, operators, x):
        """The output for images `x`, both in the terms of `operators`, an `Operators`."""
        x = self._convolution(operators, "stem/conv", x, self.stem_stride)
        x = self._norm(operators, "stem/norm", x)
        for stage, depth in enumerate(self.variant.depths):
            if stage > 0:
                x = self._norm(operators, f"stage{stage}_downsample/norm", x)
                x = self._convolution(operators, f"stage{stage}_downsample/conv", x, 2)
            for block in range(depth):
                x = self._block(operators, f"stage{stage}_block{block}", x)
        if self.num_classes is None:
            return x
        x = operators.mean_over_positions("pool", x)
        x = self._norm(operators, "norm", x)
        x = self._linear(operators, "head", x)
        return x if self.activation == "linear" else operators.activation(self.activation, x)

    def folded(self, norms=True):
        """An equal network of fewer operators. Exact but for rounding.

        GRN's shift becomes part of the linear layer after it, and with `norms` the scale and
        shift of LayerNorms too, where a linear layer or a convolution without padding alone
        takes what comes out.
        """
        weights = dict(self.weights)
        blocks = [
            f"stage{stage}_block{block}"
            for stage, depth in enumerate(self.variant.depths)
            for block in range(depth)
        ]
        for block in blocks:
            shift = weights.pop(f"{block}/response_norm/beta")
            _fold(weights, np.ones_like(shift), shift, f"{block}/project")
        if norms:
            pairs = [(f"{block}/norm", f"{block}/expand") for block in blocks]
            for stage in range(1, len(self.variant.depths)):
                pairs.append((f"stage{stage}_downsample/norm", f"stage{stage}_downsample/conv"))
            if self.num_classes is not None:
                pairs.append(("norm", "head"))
            for norm, layer in pairs:
                _fold(weights, weights.pop(f"{norm}/gamma"), weights.pop(f"{norm}/beta"), layer)
        return dataclasses.replace(self, weights=weights)

    def with_scaled_images(self, scale, shift):
        """An equal network for images x instead of x * scale + shift, a value a channel each."""
        weights = dict(self.weights)
        _fold(weights, np.asarray(scale), np.asarray(shift), "stem/conv")
        return dataclasses.replace(self, weights=weights)

    def with_divided_logits(self, divisor):
        """An equal network but for its logits, which are divided by a number: in the head."""
        head = {
            name: (self.weights[name].astype("float64") / divisor).astype("float32")
            for name in ("head/kernel", "head/bias")
        }
        return dataclasses.replace(self, weights={**self.weights, **head})

    def save(self, folder):
        """Writes the network into a folder, for another process."""
        fields = dataclasses.asdict(dataclasses.replace(self, weights={}))
        Path(folder, "network.json").write_text(json.dumps(fields))
        np.savez(Path(folder, "weights.npz"), **self.weights)

    @classmethod
    def load(cls, folder):
        """The network that `save` wrote."""
        fields = json.loads(Path(folder, "network.json").read_text())
        with np.load(Path(folder, "weights.npz")) as arrays:
            weights = dict(arrays)
        fields |= {
            "variant": Variant(**fields["variant"]),
            "image_shape": tuple(fields["image_shape"]),
            "weights": weights,
        }
        return cls(**fields)

    def _block(self, operators, name, x):
        branch = operators.depthwise(
            f"{name}/depthwise",
            x,
            self.weights[f"{name}/depthwise/kernel"],
            self.weights[f"{name}/depthwise/bias"],
        )
        branch = self._norm(operators, f"{name}/norm", branch)
        branch = self._linear(operators, f"{name}/expand", branch)
        branch = operators.gelu(f"{name}/gelu", branch)
        branch = operators.response_norm(
            f"{name}/response_norm",
            branch,
            self.weights[f"{name}/response_norm/gamma"],
            self.weights.get(f"{name}/response_norm/beta"),
        )
        branch = self._linear(operators, f"{name}/project", branch)
        return operators.add(f"{name}/add", x, branch)

    def _convolution(self, operators, name, x, stride):
        kernel, bias = self.weights[f"{name}/kernel"], self.weights[f"{name}/bias"]
        return operators.convolution(name, x, kernel, bias, stride)

    def _linear(self, operators, name, x):
        return operators.linear(
            name, x, self.weights[f"{name}/kernel"], self.weights[f"{name}/bias"]
        )

    def _norm(self, operators, name, x):
        gamma, beta = self.weights.get(f"{name}/gamma"), self.weights.get(f"{name}/beta")
        return operators.layer_norm(name, x, gamma, beta)


class Operators(Protocol):
    """What a target format has to offer; layouts are those of Keras, channels last.

    `name` is the layer's, for the names of what is written. `gamma` and `beta` are None where
    they were folded into the next layer.
    """

    def convolution(self, name, x, kernel, bias, stride):
        """Without padding; `kernel` is (stride, stride, C, D)."""

    def depthwise(self, name, x, kernel, bias):
        """Stride 1, padded to the same size; `kernel` is (k, k, C, 1)."""

    def linear(self, name, x, kernel, bias):
        """Of the last axis; `kernel` is (C, D)."""

    def layer_norm(self, name, x, gamma, beta):
        """Of the last axis."""

    def gelu(self, name, x):
        """The exact one."""

    def response_norm(self, name, x, gamma, beta):
        """GRN of (B, H, W, C)."""

    def add(self, name, x, y):
        """Of two maps of one shape."""

    def mean_over_positions(self, name, x):
        """(B, H, W, C) -> (B, C)."""

    def activation(self, name, x):
        """ "softmax" or "sigmoid" of the last axis."""


def demand_exportable(model, any_block=False):
    """Raises ExportError for what is no backbone or classifier, or not of the paper's blocks."""
    if not isinstance(model, (ConvNeXtV2Backbone, ConvNeXtV2Classifier)):
        raise ExportError(
            "What is exported must be a ConvNeXtV2Backbone or a ConvNeXtV2Classifier; of an FCMAE, "
            f"its backbone. Received: {type(model).__name__}"
        )
    block = getattr(model, "backbone", model).variant.block
    if block != PAPER_BLOCK and not any_block:
        raise ExportError(
            f"Exports know the paper's block alone; this model has {block}. A .keras file takes "
            "it, and so does Keras's own `model.export`."
        )


def network_of(model):
    """The `Network` of a backbone or a classifier, in float32.

    Raises:
        ExportError: another model, other blocks than the paper's, or an activation that has no
            counterpart in the formats.
    """
    demand_exportable(model)
    backbone = getattr(model, "backbone", model)
    activation = getattr(getattr(model, "activation", None), "__name__", "linear")
    if activation not in _ACTIVATIONS:
        raise ExportError(
            f"A classifier with the activation {activation!r} cannot be exported, only one with "
            f"{', '.join(_ACTIVATIONS)}."
        )
    weights = {
        name: keras.ops.convert_to_numpy(weight.value).astype("float32")
        for name, weight in named_weights(model).items()
    }
    return Network(
        variant=backbone.variant,
        stem_stride=backbone.stem_stride,
        image_shape=tuple(backbone.image_shape),
        num_classes=getattr(model, "num_classes", None),
        activation=activation,
        weights=weights,
    )


def _fold(weights, scale, shift, layer):
    """Lets a layer take x instead of x * scale + shift, a value a channel each."""
    kernel = weights[f"{layer}/kernel"].astype("float64")
    bias = weights[f"{layer}/bias"].astype("float64")
    before_channels = tuple(range(kernel.ndim - 2))
    at_zero = (kernel * shift.astype("float64")[:, None]).sum((*before_channels, kernel.ndim - 2))
    weights[f"{layer}/bias"] = (bias + at_zero).astype("float32")
    weights[f"{layer}/kernel"] = (kernel * scale.astype("float64")[:, None]).astype("float32")
