"""LiteRT (TensorFlow Lite): a flatbuffer of builtin operators, written without TensorFlow.

No operator has a size of the images or of the batch in it, so that both can be left open without
a graph of shape arithmetic.
"""

import dataclasses

import numpy as np

from keras_convnextv2.export.litert_writer import LiteRTWriter
from keras_convnextv2.export.network import EPSILON

_VALID, _SAME = 1, 0  # of the schema's enumeration Padding


@dataclasses.dataclass(frozen=True)
class Plan:
    """How the layers of a LiteRT graph compute; a layer is a convolution or a linear layer.

    Norms, GELU, GRN and depthwise convolutions always compute in float32.

    Args:
        half: bool, whether kernels of float layers are stored in float16.
        byte_kernels: names of depthwise convolutions whose kernels are stored in int8.
        dynamic: bool, whether layers that are not in `ranges` compute in int8 with the scale of
            their input taken anew each time, by the runtime.
        ranges: {layer: ((least, largest input), (least, largest output))} of the layers that
            compute in int8 throughout.
        input_scales: {layer: array (C,)} by which GRN divides what it gives the layer, and the
            layer's kernel makes up for, so that no channel's range dwarfs the others'.
    """

    half: bool = False
    byte_kernels: tuple = ()
    dynamic: bool = False
    ranges: dict = dataclasses.field(default_factory=dict)
    input_scales: dict = dataclasses.field(default_factory=dict)


class LiteRTOperators:
    """The operators (`network.Operators`) of a LiteRT graph; values are tensors of a writer.

    Attributes:
        layers: {layer: (its input, its output)} of what was built so far, float tensors.
    """

    def __init__(self, writer, plan):
        self.writer = writer
        self.plan = plan
        self.layers = {}

    def convolution(self, name, x, kernel, bias, stride):
        kernel = np.transpose(kernel, (3, 0, 1, 2))
        batch, height, width, _ = self.writer.shape(x)
        shape = (batch, height // stride, width // stride, len(bias))
        options = {"padding": _VALID, "strideW": stride, "strideH": stride}
        return self._layer("CONV_2D", name, x, kernel, bias, shape, options)

    def depthwise(self, name, x, kernel, bias):
        kernel, scales = np.transpose(kernel, (3, 0, 1, 2)), None
        if name in self.plan.byte_kernels:
            kernel, scales = _integer_kernel(kernel, axis=3)
        if kernel.shape[1:3] != (7, 7):
            return self._depthwise(name, x, kernel, scales, bias)
        # XNNPACK's depthwise kernels have 3, 4, 9 or 25 taps; one of 49 falls back to code that is
        # several times slower than these three together: the inner 5x5, then the rows and the
        # columns at its rim as two taps that lie 6 apart.
        none = np.zeros_like(bias)
        parts = {
            "inner": (kernel[:, 1:6, 1:6], bias, {}),
            "rows": (kernel[:, 0::6], none, {"dilationHFactor": 6}),
            "columns": (kernel[:, 1:6, 0::6], none, {"dilationWFactor": 6}),
        }
        inner, rows, columns = (
            self._depthwise(f"{name}/{part}", x, values, scales, bias, **options)
            for part, (values, bias, options) in parts.items()
        )
        return self.add(name, self.add(f"{name}/sum", inner, rows), columns)

    def linear(self, name, x, kernel, bias):
        if name in self.plan.input_scales:
            kernel = kernel * self.plan.input_scales[name][:, None]
        shape = (*self.writer.shape(x)[:-1], len(bias))
        if len(shape) == 2:
            return self._layer("FULLY_CONNECTED", name, x, kernel.T, bias, shape, {})
        # A convolution, as delegates for other processors than CPUs know it best.
        options = {"padding": _VALID, "strideW": 1, "strideH": 1}
        return self._layer("CONV_2D", name, x, kernel.T[:, None, None], bias, shape, options)

    def layer_norm(self, name, x, gamma, beta):
        mean = self._reduce("MEAN", f"{name}/mean", x, (-1,))
        centred = self._elementwise("SUB", f"{name}/centred", x, mean)
        square = self._elementwise("SQUARE", f"{name}/square", centred)
        variance = self._reduce("MEAN", f"{name}/variance", square, (-1,))
        epsilon = self._vector(f"{name}/epsilon", [EPSILON])
        variance = self._elementwise("ADD", f"{name}/guarded", variance, epsilon)
        scale = self._elementwise("RSQRT", f"{name}/scale", variance)
        y = self._elementwise("MUL", f"{name}/normalised", centred, scale)
        if gamma is None:
            return y
        y = self._elementwise("MUL", f"{name}/scaled", y, self._vector(f"{name}/gamma", gamma))
        return self._elementwise("ADD", name, y, self._vector(f"{name}/beta", beta))

    def gelu(self, name, x):
        return self._elementwise("GELU", name, x, approximate=False)

    def response_norm(self, name, x, gamma, beta):
        # `beta` was folded into the linear layer that follows.
        divisor = self.plan.input_scales.get(name.replace("response_norm", "project"), 1.0)
        square = self._elementwise("SQUARE", f"{name}/square", x)
        energy = self._reduce("SUM", f"{name}/energy", square, (1, 2))
        norm = self._elementwise("SQRT", f"{name}/norm", energy)
        mean = self._reduce("MEAN", f"{name}/mean", norm, (-1,))
        epsilon = self._vector(f"{name}/epsilon", [EPSILON])
        mean = self._elementwise("ADD", f"{name}/guarded", mean, epsilon)
        response = self._elementwise("DIV", f"{name}/response", norm, mean)
        gamma = self._vector(f"{name}/gamma", gamma / divisor)
        response = self._elementwise("MUL", f"{name}/scaled", response, gamma)
        one = self._vector(f"{name}/one", np.ones(1) / divisor)
        factor = self._elementwise("ADD", f"{name}/factor", response, one)
        return self._elementwise("MUL", name, x, factor)

    def add(self, name, x, y):
        return self._elementwise("ADD", name, x, y)

    def mean_over_positions(self, name, x):
        return self._reduce("MEAN", name, x, (1, 2), keep=False)

    def activation(self, name, x):
        output = self.writer.tensor(name, self.writer.shape(x))
        if name == "softmax":
            return self.writer.operator("SOFTMAX", [x], output, beta=1.0)
        return self.writer.operator("LOGISTIC", [x], output)

    def _layer(self, kind, name, x, kernel, bias, shape, options):
        """A convolution or linear layer, output channels first, in what the plan says of it."""
        if name in self.plan.ranges:
            output = self._integer_layer(kind, name, x, kernel, bias, shape, options)
        elif self.plan.dynamic:
            version = 9 if kind == "FULLY_CONNECTED" else 5  # of int8 kernels under float inputs
            kernel, scales = _integer_kernel(kernel)
            kernel = self.writer.constant(f"{name}/kernel", kernel, scales=scales)
            inputs = [x, kernel, self._vector(f"{name}/bias", bias)]
            output = self.writer.tensor(name, shape)
            self.writer.operator(kind, inputs, output, version=version, **options)
        else:
            inputs = [x, self._kernel(name, kernel), self._vector(f"{name}/bias", bias)]
            output = self.writer.operator(kind, inputs, self.writer.tensor(name, shape), **options)
        self.layers[name] = (x, output)
        return output

    def _integer_layer(self, kind, name, x, kernel, bias, shape, options):
        writer = self.writer
        inputs, outputs = (_scale_and_zero(*ends) for ends in self.plan.ranges[name])
        kernel, scales = _integer_kernel(kernel)
        bias_scales = inputs["scales"] * scales
        limit = 2**31 - 1
        bias = np.clip(np.rint(bias / bias_scales), -limit, limit).astype("int32")
        quantized = writer.tensor(f"{name}/quantized_input", writer.shape(x), "int8", **inputs)
        writer.operator("QUANTIZE", [x], quantized)
        kernel = writer.constant(f"{name}/kernel", kernel, scales=scales)
        bias = writer.constant(f"{name}/bias", bias, scales=bias_scales)
        y = writer.tensor(f"{name}/quantized", shape, "int8", **outputs)
        version = 4 if kind == "FULLY_CONNECTED" else 3  # of int8
        writer.operator(kind, [quantized, kernel, bias], y, version=version, **options)
        return writer.operator("DEQUANTIZE", [y], writer.tensor(name, shape), version=2)

    def _depthwise(self, name, x, kernel, scales, bias, **options):
        inputs = [x, self._kernel(name, kernel, scales), self._vector(f"{name}/bias", bias)]
        output = self.writer.tensor(name, self.writer.shape(x))
        options |= {"padding": _SAME, "strideW": 1, "strideH": 1, "depthMultiplier": 1}
        return self.writer.operator("DEPTHWISE_CONV_2D", inputs, output, **options)

    def _kernel(self, name, values, scales=None):
        """Values that are float when used: with `scales`, a channel each, stored in int8."""
        name = f"{name}/kernel"
        if scales is not None:
            stored = self.writer.constant(f"{name}/byte", values, scales=scales, axis=3)
            version = 5  # of a scale for each channel
        elif self.plan.half:
            stored = self.writer.constant(f"{name}/half", values.astype("float16"))
            version = 3
        else:
            return self.writer.constant(name, values)
        kernel = self.writer.tensor(name, values.shape)
        return self.writer.operator("DEQUANTIZE", [stored], kernel, version=version)

    def _vector(self, name, values):
        return self.writer.constant(name, np.asarray(values, "float32"))

    def _elementwise(self, kind, name, x, *others, **options):
        output = self.writer.tensor(name, self.writer.shape(x))
        return self.writer.operator(kind, [x, *others], output, **options)

    def _reduce(self, kind, name, x, axes, keep=True):
        shape = self.writer.shape(x)
        axes = [axis % len(shape) for axis in axes]
        left = [1 if axis in axes else size for axis, size in enumerate(shape)]
        if not keep:
            left = [size for axis, size in enumerate(shape) if axis not in axes]
        constant = self.writer.constant(f"{name}/axes", np.asarray(axes, "int32"))
        output = self.writer.tensor(name, left)
        return self.writer.operator(kind, [x, constant], output, keepDims=keep)


def write(network, path, settings, plan=None):
    """Writes a `.tflite` file.

    Args:
        network: a `Network` in the terms of the artefact's input.
        path: str or Path.
        settings: the artefact's `Settings`.
        plan: a `Plan`; None: the one of `settings.precision`, which then is not "int8".

    Returns:
        {layer: (name of its input tensor, name of its output tensor)}.

    Raises:
        ModuleNotFoundError: the package ai-edge-litert is not installed.
    """
    if plan is None and settings.precision == "dynamic_int8":
        plan = Plan(byte_kernels=depthwise_layers(network), dynamic=True)
    elif plan is None:
        plan = Plan(half=settings.precision == "float16")
    open_axes = [axis for axis, size in enumerate(settings.input_shape) if size is None]
    writer = LiteRTWriter(open_axes)
    usual = (1, 7 * network.total_stride, 7 * network.total_stride, None)
    shape = [size or other for size, other in zip(settings.input_shape, usual, strict=True)]
    operators = LiteRTOperators(writer, plan)
    if settings.dtype == "uint8":
        # As quantized numbers of the step 1: CAST is no operator of XNNPACK's.
        images = writer.tensor("images", shape, "uint8", scales=1.0)
        x = writer.tensor("float_images", shape)
        writer.operator("DEQUANTIZE", [images], x)
    else:
        images = x = writer.tensor("images", shape)
    outputs = network.folded().run(operators, x)
    metadata = settings.metadata(network)
    writer.finish(path, {"images": images}, {"outputs": outputs}, metadata)
    return {
        layer: tuple(writer.name(tensor) for tensor in tensors)
        for layer, tensors in operators.layers.items()
    }


def depthwise_layers(network):
    """Names of a network's depthwise convolutions."""
    ending = "/kernel"
    names = (name.removesuffix(ending) for name in network.weights if name.endswith(ending))
    return tuple(name for name in names if name.endswith("/depthwise"))


def _integer_kernel(kernel, axis=0):
    """int8 values and a scale for each output channel."""
    others = tuple(place for place in range(kernel.ndim) if place != axis)
    scales = np.maximum(np.abs(kernel).max(others, keepdims=True), 1e-12) / 127
    return np.rint(kernel / scales).astype("int8"), scales.reshape(-1)


def _scale_and_zero(least, largest):
    """The int8 quantization of values in a range, of which 0 is always one."""
    least, largest = min(float(least), 0.0), max(float(largest), 0.0)
    scale = max(largest - least, 1e-12) / 255
    return {"scales": scale, "zero_point": int(np.clip(np.rint(-128 - least / scale), -128, 127))}
