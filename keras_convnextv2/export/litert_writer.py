"""Writes a LiteRT (TensorFlow Lite) flatbuffer: tensors, operators, metadata."""

import json

import numpy as np

METADATA_NAME = "keras_convnextv2"
_SCHEMA_VERSION = 3
_ALIGNMENT = 16  # bytes; the schema's, for buffers
_LARGEST_FLATBUFFER = 2**31 - 2**20  # its offsets are 32-bit; what is larger stands behind it
_SMALLEST_BEHIND = 2**16  # bytes
_LARGEST_SHARED = 2**16  # bytes; of larger vectors, none is looked for twice
_TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int8": 9}


class LiteRTWriter:
    """A model of one subgraph that is put together operator by operator.

    Tensors are ints. Equal small vectors (zero points, zero biases, shapes) are written once.

    Args:
        open_axes: which of the axes batch, height and width, 0 to 2, may have any size; that of a
            tensor is what it has where nobody says otherwise. Reduced axes, of size 1, stay so.
    """

    def __init__(self, open_axes=()):
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._open_axes = open_axes
        self._buffers = [schema.BufferT()]  # the first is the one of tensors without values
        self._tensors = []
        self._operators = []
        self._codes = {}

    def tensor(self, name, shape, dtype="float32", scales=None, zero_point=0, axis=0):
        """A tensor that an operator or the user fills.

        Args:
            scales, zero_point, axis: of a quantized tensor, a scale or one for each index of
                `axis`.
        """
        tensor = self._schema.TensorT()
        tensor.name = name
        tensor.shape = np.asarray(shape, "int32")
        signature = [
            -1 if axis in self._open_axes and (axis == 0 or size > 1) else size
            for axis, size in enumerate(shape)
        ]
        if signature != list(shape):
            tensor.shapeSignature = np.asarray(signature, "int32")
        tensor.hasRank = True
        tensor.type = _TYPES[dtype]
        if scales is not None:
            tensor.quantization = self._schema.QuantizationParametersT()
            tensor.quantization.scale = np.atleast_1d(np.asarray(scales, "float32"))
            tensor.quantization.zeroPoint = np.full(
                tensor.quantization.scale.shape, zero_point, "int64"
            )
            tensor.quantization.quantizedDimension = axis
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def constant(self, name, values, **quantization):
        """A tensor of fixed values."""
        values = np.ascontiguousarray(values)
        tensor = self.tensor(name, values.shape, values.dtype.name, **quantization)
        self._tensors[tensor].shapeSignature = None
        self._tensors[tensor].buffer = self._add_buffer(values)
        return tensor

    def shape(self, tensor):
        """The shape of a tensor."""
        return tuple(map(int, self._tensors[tensor].shape))

    def name(self, tensor):
        """The name of a tensor."""
        return self._tensors[tensor].name

    def operator(self, kind, inputs, output, version=1, **options):
        """Adds a builtin operator, such as "CONV_2D", and returns its output tensor."""
        schema = self._schema
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(kind, version)
        operator.inputs = np.asarray(inputs, "int32")
        operator.outputs = np.asarray([output], "int32")
        class_name = _OPTIONS.get(kind)
        if class_name is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, class_name)
            operator.builtinOptions = getattr(schema, f"{class_name}T")()
            for name, value in options.items():
                setattr(operator.builtinOptions, name, value)
        self._operators.append(operator)
        return output

    def finish(self, path, inputs, outputs, metadata):
        """Writes the file.

        Args:
            inputs, outputs: {name in the signature "serving_default": tensor}.
            metadata: dict, kept as JSON under `METADATA_NAME`.
        """
        import flatbuffers

        schema = self._schema
        graph = schema.SubGraphT()
        graph.name = "main"
        graph.tensors = self._tensors
        graph.operators = self._operators
        graph.inputs = np.asarray(list(inputs.values()), "int32")
        graph.outputs = np.asarray(list(outputs.values()), "int32")
        model = schema.ModelT()
        model.version = _SCHEMA_VERSION
        model.description = "keras-convnextv2"
        model.subgraphs = [graph]
        model.operatorCodes = list(self._codes.values())
        model.signatureDefs = [self._signature(inputs, outputs)]
        entry = schema.MetadataT()
        entry.name = METADATA_NAME
        entry.buffer = self._add_buffer(np.frombuffer(json.dumps(metadata).encode(), "uint8"))
        model.metadata = [entry]
        model.buffers = self._buffers
        num_bytes = sum(0 if b.data is None else len(b.data) for b in self._buffers)
        behind = self._move_behind() if num_bytes > _LARGEST_FLATBUFFER else []

        class AlignedBuilder(flatbuffers.Builder):
            def __init__(self, size):
                super().__init__(size)
                self._written = {}

            def StartVector(self, elemSize, numElems, alignment):  # noqa: N802, N803
                alignment = max(alignment, _ALIGNMENT) if elemSize == 1 else alignment
                return super().StartVector(elemSize, numElems, alignment)

            def CreateNumpyVector(self, x):  # noqa: N802
                if x.nbytes > _LARGEST_SHARED:
                    return super().CreateNumpyVector(x)
                key = x.dtype.str, x.tobytes()
                if key not in self._written:
                    self._written[key] = super().CreateNumpyVector(x)
                return self._written[key]

        def pack():
            builder = AlignedBuilder(2**20 + (0 if behind else int(1.01 * num_bytes)))
            builder.Finish(model.Pack(builder), b"TFL3")
            return builder.Output()

        if behind:
            # Offsets are of a fixed width, so the flatbuffer's length does not depend on them.
            place = _aligned(len(pack()))
            for buffer, data in behind:
                buffer.offset, buffer.size = place, len(data)
                place = _aligned(place + len(data))
        with open(path, "wb") as file:
            file.write(pack())
            for buffer, data in behind:
                file.write(bytes(buffer.offset - file.tell()))
                file.write(data)

    def _move_behind(self):
        """Takes the large buffers' bytes out: pairs of a buffer and its bytes."""
        behind = []
        for buffer in self._buffers:
            if buffer.data is not None and len(buffer.data) > _SMALLEST_BEHIND:
                behind.append((buffer, buffer.data))
                # Values 0 would be left out of the flatbuffer and change its length.
                buffer.data, buffer.offset, buffer.size = None, 2, 2
        return behind

    def _add_buffer(self, values):
        buffer = self._schema.BufferT()
        buffer.data = values.reshape(-1).view("uint8")
        self._buffers.append(buffer)
        return len(self._buffers) - 1

    def _code(self, kind, version):
        if (kind, version) not in self._codes:
            code = self._schema.OperatorCodeT()
            code.builtinCode = getattr(self._schema.BuiltinOperator, kind)
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
            code.version = version
            self._codes[kind, version] = code
        return list(self._codes).index((kind, version))

    def _signature(self, inputs, outputs):
        signature = self._schema.SignatureDefT()
        signature.signatureKey = "serving_default"
        signature.inputs, signature.outputs = (
            [self._named(name, tensor) for name, tensor in tensors.items()]
            for tensors in (inputs, outputs)
        )
        return signature

    def _named(self, name, tensor):
        entry = self._schema.TensorMapT()
        entry.name, entry.tensorIndex = name, tensor
        return entry


# The options that an operator has, by the name of their table; the others have none.
_OPTIONS = {
    "ADD": "AddOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "DIV": "DivOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GELU": "GeluOptions",
    "MEAN": "ReducerOptions",
    "MUL": "MulOptions",
    "QUANTIZE": "QuantizeOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SQUARED_DIFFERENCE": "SquaredDifferenceOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
}


def _aligned(place):
    return -(-place // _ALIGNMENT) * _ALIGNMENT
