"""ONNX: a graph of standard operators, written without the framework that trained the model."""

import json
from pathlib import Path

import numpy as np

from keras_convnextv2.export.network import EPSILON
from keras_convnextv2.export.runtimes import METADATA_KEY

_OPSET = 20  # the first with Gelu
_IR_VERSION = 10  # of that opset's time; what is newer, older runtimes refuse
_LARGEST_FILE = 2**31 - 2**24  # of a protobuf; weights of a larger model stand in a file beside it


class ONNXOperators:
    """The operators (`network.Operators`) of an ONNX graph; values are names of outputs.

    Its convolutions take channels first, all else here stays channels last.
    """

    def __init__(self):
        import onnx

        self._onnx = onnx
        self.nodes = []
        self.constants = []

    def convolution(self, name, x, kernel, bias, stride):
        kernel = np.transpose(kernel, (3, 2, 0, 1))
        return self._convolution(name, x, kernel, bias, strides=[stride, stride])

    def depthwise(self, name, x, kernel, bias):
        side, _, channels, _ = kernel.shape
        kernel = np.transpose(kernel, (2, 3, 0, 1))
        return self._convolution(name, x, kernel, bias, group=channels, pads=[side // 2] * 4)

    def linear(self, name, x, kernel, bias):
        product = self.node(
            "MatMul", f"{name}/product", x, self._constant(f"{name}/kernel", kernel)
        )
        return self.node("Add", name, product, self._constant(f"{name}/bias", bias))

    def layer_norm(self, name, x, gamma, beta):
        gamma, beta = self._constant(f"{name}/gamma", gamma), self._constant(f"{name}/beta", beta)
        return self.node("LayerNormalization", name, x, gamma, beta, axis=-1, epsilon=EPSILON)

    def gelu(self, name, x):
        return self.node("Gelu", name, x)

    def response_norm(self, name, x, gamma, beta):
        norm = self._reduce("ReduceL2", f"{name}/norm", x, [1, 2])
        mean = self._reduce("ReduceMean", f"{name}/mean", norm, [-1])
        epsilon = self._constant(f"{name}/epsilon", np.float32(EPSILON))
        mean = self.node("Add", f"{name}/guarded", mean, epsilon)
        response = self.node("Div", f"{name}/response", norm, mean)
        gamma = self._constant(f"{name}/gamma", gamma)
        response = self.node("Mul", f"{name}/scaled", response, gamma)
        one = self._constant(f"{name}/one", np.float32(1))
        factor = self.node("Add", f"{name}/factor", response, one)
        y = self.node("Mul", f"{name}/product", x, factor)
        return (
            y if beta is None else self.node("Add", name, y, self._constant(f"{name}/beta", beta))
        )

    def add(self, name, x, y):
        return self.node("Add", name, x, y)

    def mean_over_positions(self, name, x):
        return self._reduce("ReduceMean", name, x, [1, 2], keepdims=0)

    def activation(self, name, x):
        if name == "softmax":
            return self.node("Softmax", name, x, axis=-1)
        return self.node("Sigmoid", name, x)

    def node(self, kind, name, *inputs, **attributes):
        """Adds a node with one output of its name."""
        node = self._onnx.helper.make_node(kind, list(inputs), [name], name=name, **attributes)
        self.nodes.append(node)
        return name

    def _convolution(self, name, x, kernel, bias, **attributes):
        x = self.node("Transpose", f"{name}/channels_first", x, perm=[0, 3, 1, 2])
        constants = self._constant(f"{name}/kernel", kernel), self._constant(f"{name}/bias", bias)
        y = self.node("Conv", f"{name}/convolution", x, *constants, **attributes)
        return self.node("Transpose", name, y, perm=[0, 2, 3, 1])

    def _reduce(self, kind, name, x, axes, keepdims=1):
        axes = self._constant(f"{name}/axes", np.asarray(axes, "int64"))
        return self.node(kind, name, x, axes, keepdims=keepdims)

    def _constant(self, name, values):
        values = np.ascontiguousarray(values) if np.ndim(values) else np.asarray(values)
        self.constants.append(self._onnx.numpy_helper.from_array(values, name))
        return name


def write(network, path, settings):
    """Writes an ONNX file, and beside it `<name>.data` where the weights are over 2 GB.

    Args:
        network: a `Network` in the terms of the artefact's input.
        path: str or Path.
        settings: the artefact's `Settings`.

    Raises:
        ModuleNotFoundError: the package onnx is not installed.
    """
    import onnx

    network = network.folded(norms=False)
    operators = ONNXOperators()
    x = "images"
    if settings.dtype == "uint8":
        x = operators.node("Cast", "float_images", x, to=onnx.TensorProto.FLOAT)
    operators.node("Identity", "outputs", network.run(operators, x))
    make = onnx.helper.make_tensor_value_info
    elements = {"uint8": onnx.TensorProto.UINT8, "float32": onnx.TensorProto.FLOAT}
    axes = zip(("batch", "height", "width", "channels"), settings.input_shape, strict=True)
    inputs = make("images", elements[settings.dtype], [size or axis for axis, size in axes])
    axes = (
        ("batch", "rows", "columns", "features")
        if network.num_classes is None
        else (
            "batch",
            "classes",
        )
    )
    shape = [size or axis for axis, size in zip(axes, settings.output_shape(network), strict=True)]
    outputs = make("outputs", onnx.TensorProto.FLOAT, shape)
    graph = onnx.helper.make_graph(
        operators.nodes, "keras_convnextv2", [inputs], [outputs], operators.constants
    )
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="keras-convnextv2",
    )
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(settings.metadata(network))})
    is_large = sum(weight.nbytes for weight in network.weights.values()) > _LARGEST_FILE
    options = {}
    if is_large:
        options = {"save_as_external_data": True, "location": f"{Path(path).name}.data"}
    onnx.save(model, str(path), **options)
