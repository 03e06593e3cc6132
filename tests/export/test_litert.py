"""LiteRT graphs: what operators they hold, what they compute in, how they are quantized."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

import keras_convnextv2 as kc
from keras_convnextv2.export import export_model, litert_quantization, open_artefact
from keras_convnextv2.export.check import AGREEMENT

pytestmark = pytest.mark.one_backend  # test_artefacts has the way from each backend to LiteRT
# Of one block; two more CONV_2D, DEQUANTIZE etc. come with float16 and int8.
EXPECTED_KINDS = {
    "ADD",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "DIV",
    "FULLY_CONNECTED",
    "GELU",
    "MEAN",
    "MUL",
    "RSQRT",
    "SQRT",
    "SQUARE",
    "SUB",
    "SUM",
}
BUILTIN = {value: name for name, value in vars(schema.BuiltinOperator).items()}


def operators_of(path):
    """The kinds of the operators of a file, in order."""
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    assert model.SubgraphsLength() == 1
    graph = model.Subgraphs(0)
    codes = [model.OperatorCodes(place) for place in range(model.OperatorCodesLength())]
    assert all(code.CustomCode() is None for code in codes)  # Flex operators are custom ones
    kinds = [BUILTIN[code.BuiltinCode()] for code in codes]
    return [kinds[graph.Operators(i).OpcodeIndex()] for i in range(graph.OperatorsLength())]


def stored_kernels(path):
    """{name: type} of the kernels that a file holds."""
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    graph = model.Subgraphs(0)
    tensors = (graph.Tensors(place) for place in range(graph.TensorsLength()))
    return {
        tensor.Name().decode(): tensor.Type()
        for tensor in tensors
        if b"kernel" in tensor.Name() and model.Buffers(tensor.Buffer()).DataLength()
    }


def assert_one_partition(path):
    """All operators run in one call of XNNPACK, from the images to the outputs."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    details = interpreter._get_ops_details()
    (delegate,) = (detail for detail in details if detail["op_name"] == "DELEGATE")
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    graph = model.Subgraphs(0)
    variable = [
        tensor
        for tensor in map(int, delegate["inputs"])
        if tensor >= 0 and model.Buffers(graph.Tensors(tensor).Buffer()).DataLength() == 0
    ]
    assert variable == graph.InputsAsNumpy().tolist()
    assert delegate["outputs"].tolist() == graph.OutputsAsNumpy().tolist()


@pytest.mark.parametrize(
    ("precision", "more"),
    [
        ("float32", set()),
        ("float16", {"DEQUANTIZE"}),
        ("dynamic_int8", {"DEQUANTIZE"}),
        ("int8", {"DEQUANTIZE", "QUANTIZE"}),
    ],
)
def test_a_graph_is_of_builtin_operators_in_one_partition(
    precision, more, make_model, pixels, tmp_path
):
    path = tmp_path / "model.tflite"
    export_model(
        make_model(image_shape=(64, 96, 3)),
        path,
        precision=precision,
        batch_size=2,
        images=pixels,
        keep_failed=True,
    )
    kinds = operators_of(path)
    assert set(kinds) == EXPECTED_KINDS | more
    blocks = 5
    assert kinds.count("GELU") == blocks
    assert kinds.count("DEPTHWISE_CONV_2D") == 3 * blocks
    assert kinds.count("CONV_2D") == 2 * blocks + 4  # the linear layers, stem and downsampling
    assert_one_partition(path)


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"image_size": (None, None)}])
def test_pixels_and_open_sizes_stay_in_it(options, make_model, tmp_path):
    path = tmp_path / "model.tflite"
    export_model(make_model(image_shape=(32, 32, 3)), path, include_preprocessing=True, **options)
    assert operators_of(path)[0] == "DEQUANTIZE"
    assert_one_partition(path)


@pytest.mark.parametrize(
    ("precision", "share"), [("float16", 0.53), ("dynamic_int8", 0.33), ("int8", 0.33)]
)
def test_smaller_numbers_make_a_smaller_file(precision, share, make_model, pixels, tmp_path):
    # Of 600,000 weights; in a real model the graph itself counts for less.
    model = make_model(image_shape=(64, 96, 3), variant=kc.Variant((1, 1, 1, 1), (16, 32, 64, 256)))
    sizes = {}
    for name in ("float32", precision):
        path = tmp_path / f"{name}.tflite"
        sizes[name] = export_model(
            model, path, precision=name, images=pixels, keep_failed=True
        ).num_bytes
    assert sizes[precision] < share * sizes["float32"]


def test_int8_is_about_a_quarter_of_float32(tmp_path, pixels, monkeypatch):
    # Classes of a model that has learnt nothing nearly tie: some draws need layers in float32.
    monkeypatch.setattr(litert_quantization, "_AGREEMENT", 0.0)
    model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone("atto", image_shape=(64, 96, 3)), 10)
    sizes = {
        precision: export_model(
            model,
            tmp_path / f"{precision}.tflite",
            precision=precision,
            images=pixels,
            keep_failed=True,
        ).num_bytes
        for precision in ("float32", "dynamic_int8", "int8")
    }
    assert sizes["int8"] < 0.266 * sizes["float32"]
    assert sizes["dynamic_int8"] < 0.266 * sizes["float32"]


def test_no_more_layers_than_needed_are_put_back():
    for most in (1, 2, 13):
        for needed in range(most + 1):
            found = litert_quantization._few_enough(lambda kept, n=needed: kept >= n, most)
            assert found == needed
    assert litert_quantization._few_enough(lambda kept: False, 13) == 13


def test_float16_stays_within_its_tolerance(make_model, pixels, tmp_path):
    report = export_model(
        make_model(image_shape=(64, 96, 3)),
        tmp_path / "model.tflite",
        precision="float16",
        images=pixels,
    )
    assert 0 < report.relative_difference < 2e-3  # 2^-11 a weight
    assert report.num_images == len(pixels)


def test_int8_is_chosen_by_measured_error_and_says_what_stayed_float(make_model, pixels, tmp_path):
    model = make_model(image_shape=(64, 96, 3))
    path = tmp_path / "model.tflite"
    report = export_model(model, path, precision="int8", images=pixels, include_preprocessing=True)
    assert report.agreement >= AGREEMENT
    assert report.layers_kept_float is not None
    kinds = operators_of(path)
    layers = 2 * 5 + 4 + 1
    kept = [layer for layer in report.layers_kept_float if not layer.endswith("/depthwise")]
    assert kinds.count("QUANTIZE") == layers - len(kept)
    assert kinds.count("QUANTIZE") >= layers / 2
    expected = open_artefact(path)(pixels)
    assert np.isfinite(expected).all()


def test_a_layer_that_int8_cannot_hold_stays_float(make_model, pixels, tmp_path):
    # One output of ten thousand times the others' size, which comes to nothing in the end: of
    # int8's steps, which reach so far, none is left for the others.
    model = make_model(image_shape=(64, 96, 3))
    block = model.backbone.get_layer("stage3_block0")
    block.expand.bias.assign(np.eye(96)[0] * 1e4)
    block.response.gamma.assign(np.zeros(96))
    block.project.kernel.assign(
        np.asarray(block.project.get_weights()[0]) * (np.arange(96) > 0)[:, None]
    )
    report = export_model(model, tmp_path / "model.tflite", precision="int8", images=pixels)
    # Its input stays in int8 all the same: there scales take the channel back to size.
    assert "stage3_block0/expand" in report.layers_kept_float
    assert report.agreement >= AGREEMENT


def test_accuracies_are_compared_where_labels_are_known(make_model, pixels, outputs_of, tmp_path):
    model = make_model(image_shape=(64, 96, 3))
    right = outputs_of(model, kc.preprocess(pixels)).argmax(-1)
    labels = right.copy()
    labels[:6] = (labels[:6] + 1) % 5
    report = export_model(model, tmp_path / "model.tflite", images=pixels, labels=labels)
    assert report.accuracy == report.keras_accuracy == 0.75
    assert report.agreement == 1


def test_buffers_are_aligned_for_kernels_that_read_them_in_place(make_model, tmp_path):
    path = tmp_path / "model.tflite"
    export_model(make_model(image_shape=(32, 32, 3)), path)
    content = path.read_bytes()
    model = schema.Model.GetRootAs(content, 0)
    places = []
    for place in range(model.BuffersLength()):
        buffer = model.Buffers(place)
        if buffer.DataLength():
            places.append(buffer._tab.Vector(buffer._tab.Offset(4)))
    assert len(places) > 50
    assert {place % 16 for place in places} == {0}


def test_weights_too_large_for_a_flatbuffer_stand_behind_it(
    make_model, pixels, outputs_of, tmp_path, monkeypatch
):
    from keras_convnextv2.export import litert_writer

    monkeypatch.setattr(litert_writer, "_LARGEST_FLATBUFFER", 10_000)
    monkeypatch.setattr(litert_writer, "_SMALLEST_BEHIND", 1_000)
    model = make_model(image_shape=(64, 96, 3))
    path = tmp_path / "model.tflite"
    export_model(model, path)
    content = path.read_bytes()
    root = schema.Model.GetRootAs(content, 0)
    behind = [
        (buffer.Offset(), buffer.Size())
        for buffer in map(root.Buffers, range(root.BuffersLength()))
        if buffer.Offset() > 1
    ]
    assert len(behind) > 10
    assert all(offset % 16 == 0 for offset, _ in behind)
    assert sum(behind[-1]) == len(content)
    images = kc.preprocess(pixels[:2])
    np.testing.assert_allclose(open_artefact(path)(images), outputs_of(model, images), atol=5e-5)


def test_a_depthwise_kernel_that_int8_cannot_hold_stays_float16(make_model, pixels, tmp_path):
    # The last stage's maps are of 2x3: the tap in the corner reads padding, whatever it weighs, and
    # leaves int8 no step for the others. The head's bias lets every class come first somewhere.
    model = make_model(image_shape=(64, 96, 3))
    block = model.backbone.get_layer("stage3_block0")
    kernel = keras.ops.convert_to_numpy(block.depthwise.kernel).copy()
    kernel[0, 0] = 1e4 * np.abs(kernel).max()
    block.depthwise.kernel.assign(kernel)
    logits = keras.ops.convert_to_numpy(model(kc.preprocess(pixels)))
    head = model.get_layer("head")
    head.bias.assign(keras.ops.convert_to_numpy(head.bias) - logits.mean(0))
    path = tmp_path / "model.tflite"
    report = export_model(model, path, precision="int8", images=pixels)
    assert "stage3_block0/depthwise" in report.layers_kept_float
    assert report.agreement >= AGREEMENT
    stored = stored_kernels(path)
    assert {name for name, dtype in stored.items() if dtype == schema.TensorType.FLOAT16} >= {
        f"stage3_block0/depthwise/{part}/kernel/half" for part in ("inner", "rows", "columns")
    }
    assert stored["stage0_block0/depthwise/inner/kernel/byte"] == schema.TensorType.INT8
