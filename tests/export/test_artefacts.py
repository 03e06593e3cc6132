"""Every format computes what the model computes, whatever is open and whatever stands inside."""

import json

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.export import ExportError, check, export_model, open_artefact
from keras_convnextv2.export.arguments import make_settings
from keras_convnextv2.export.artefact import report_path
from keras_convnextv2.models.probabilities import probabilities_of
from tests.export.conftest import CLASS_NAMES

PATHS = {
    "litert": "model.tflite",
    "onnx": "model.onnx",
    "openvino": "model.xml",
    "saved_model": "model",
    "torch": "model.pt2",
}
# What takes no framework's start-up is tried in every way; the rest in one or two each here, and
# once in tests/recipes/test_predict.py.
OPTIONS = {
    "fixed": {"batch_size": 2, "image_size": (64, 96)},
    "any batch": {"image_size": (64, 96)},
    "any size": {"image_size": (None, None)},
    "fixed, pixels": {"batch_size": 2, "image_size": (64, 96), "include_preprocessing": True},
    "any size, pixels": {"image_size": (None, None), "include_preprocessing": True},
}
QUICK = ("litert", "onnx")
# Of the scale of the outputs, some 1 to 5: float32 rounding in another order of sums.
TOLERANCE = 1e-5


def assert_complete(report, path):
    """The report stands beside the artefact, and nothing unfinished does."""
    written = json.loads(report_path(path).read_text())
    assert written["artefact"] == str(path)
    assert PATHS[written["format"]] == path.name
    assert written["num_bytes"] == report.num_bytes > 20_000
    assert written["latency_milliseconds"] > 0
    beside = {file.name for file in path.parent.iterdir()} - {path.name, report_path(path).name}
    assert beside == ({"model.bin"} if path.suffix == ".xml" else set())


def assert_described(metadata, options):
    """What the artefact says of itself."""
    assert metadata["class_names"] == list(CLASS_NAMES)
    assert metadata["licence"] == "cc-by-nc-4.0"
    assert metadata["model"] == "classifier"
    assert metadata["variant"] == {"depths": [1, 1, 2, 1], "widths": [8, 12, 16, 24]}
    assert metadata["input"] == {
        "name": "images",
        "shape": [options.get("batch_size"), *options["image_size"], 3],
        "dtype": "uint8" if "include_preprocessing" in options else "float32",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    assert metadata["output"] == {"name": "outputs", "kind": "logits"}


# test_variants_of_the_paper_are_exported has ways from the other backends.
@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("format", "options"),
    [(format, name) for format in QUICK for name in OPTIONS]
    + [("openvino", "any size, pixels"), ("saved_model", "any size, pixels")]
    + [("saved_model", "fixed"), ("torch", "any size")],
)
def test_an_artefact_computes_what_the_model_computes(
    format, options, make_model, pixels, outputs_of, tmp_path
):
    model = make_model()
    path = tmp_path / PATHS[format]
    report = export_model(model, path, **OPTIONS[options])
    assert report.problem is None
    assert report.relative_difference < TOLERANCE
    assert_complete(report, path)
    artefact = open_artefact(path)
    assert_described(artefact.metadata, OPTIONS[options])
    images = kc.preprocess(pixels[:5])  # not a multiple of the fixed batch
    taken = pixels[:5] if "pixels" in options else images
    np.testing.assert_allclose(artefact(taken), outputs_of(model, images), atol=TOLERANCE * 5)
    if "any size" in options:
        # Not multiples of the stride either; PyTorch takes two rows of features as the least.
        cut = pixels[:2, 1:, :70] if format != "torch" else pixels[:2, :, :70]
        other = kc.preprocess(cut)
        taken = cut if "pixels" in options else other
        np.testing.assert_allclose(artefact(taken), outputs_of(model, other), atol=TOLERANCE * 5)


@pytest.mark.one_backend
@pytest.mark.parametrize("format", QUICK)
@pytest.mark.parametrize("activation", [None, "softmax", "sigmoid"])
def test_logits_or_probabilities_are_given_as_asked(
    format, activation, make_model, pixels, outputs_of, tmp_path
):
    model = make_model(activation=activation, image_shape=(64, 96, 3))
    images = kc.preprocess(pixels[:3])
    logits = outputs_of(make_model(image_shape=(64, 96, 3)), images)
    expected = {
        "logits": logits,
        "probabilities": keras.ops.convert_to_numpy(
            keras.activations.get(activation or "softmax")(keras.ops.convert_to_tensor(logits))
        ),
    }
    for output in expected:
        path = tmp_path / output / PATHS[format]
        export_model(model, path, output=output)
        artefact = open_artefact(path)
        assert artefact.metadata["output"]["kind"] == output
        np.testing.assert_allclose(artefact(images), expected[output], atol=5e-5)
    export_model(model, tmp_path / PATHS[format])
    kind = open_artefact(tmp_path / PATHS[format]).metadata["output"]["kind"]
    assert kind == ("logits" if activation is None else "probabilities")


# tests/recipes/test_predict.py has a temperature in every format.
@pytest.mark.one_backend
@pytest.mark.parametrize("format", QUICK)
@pytest.mark.parametrize("multi_label", [False, True], ids=["one label", "several labels"])
def test_probabilities_are_after_the_temperature_and_logits_say_it(
    format, multi_label, make_model, pixels, outputs_of, tmp_path
):
    model = make_model(image_shape=(64, 96, 3))
    model.temperature, model.multi_label = 2.5, multi_label
    images = kc.preprocess(pixels[:3])
    logits = outputs_of(model, images)
    powers = np.exp(logits.astype("float64") / 2.5)
    total = 1 + powers if multi_label else powers.sum(-1, keepdims=True)
    expected = {"logits": logits, "probabilities": powers / total}
    for output in expected:
        path = tmp_path / output / PATHS[format]
        export_model(model, path, output=output)
        artefact = open_artefact(path)
        of_several = {"multi_label": True} if multi_label else {}
        assert artefact.metadata["output"] == {
            "name": "outputs",
            "kind": output,
            "temperature": 2.5,
            **of_several,
        }
        np.testing.assert_allclose(artefact(images), expected[output], atol=5e-5)


@pytest.mark.one_backend
@pytest.mark.parametrize("format", QUICK)
@pytest.mark.parametrize("activation", [None, "softmax", "sigmoid"])
def test_an_untrained_classifier_whose_probabilities_are_nearly_equal_passes(
    format, activation, tmp_path
):
    backbone = kc.ConvNeXtV2Backbone(kc.Variant((1, 1, 1, 1), (8, 12, 16, 24)), (64, 96, 3))
    model = kc.ConvNeXtV2Classifier(backbone, 5, activation=activation)
    report = export_model(model, tmp_path / PATHS[format], output="probabilities")
    assert report.problem is None
    assert report.relative_difference == report.largest_difference < 1e-6


@pytest.mark.one_backend
def test_the_tolerance_of_probabilities_follows_from_that_of_logits():
    logits = np.array([[4.0, -6.0, 0.0], [0.0, 1.0, 2.0]])  # a range of 10: 1e-3 are allowed
    settings = make_settings(
        kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone("atto", (32, 32, 3)), 3),
        output="probabilities",
    )
    certain = probabilities_of(logits)
    for change, passes in ((1e-3, True), (1e-2, False)):
        moved = probabilities_of(logits + change * np.array([1, -1, 1]))
        assert (check.compare(moved, certain, settings)["problem"] is None) == passes
    # Of logits of a range of 1e-3 a difference in the fifth place is one in the outputs.
    unsure = probabilities_of(1e-4 * logits)
    assert check.compare(unsure + 1e-7, unsure, settings)["problem"] is None
    problem = check.compare(probabilities_of(-1e-4 * logits), unsure, settings)["problem"]
    assert "differs by" in problem


@pytest.mark.one_backend
@pytest.mark.parametrize("format", QUICK)
def test_a_backbone_gives_its_features(format, make_model, pixels, outputs_of, tmp_path):
    model = make_model(num_classes=None, image_shape=(64, 96, 3))
    path = tmp_path / PATHS[format]
    export_model(model, path)
    artefact = open_artefact(path)
    assert artefact.metadata["model"] == "backbone"
    assert artefact.metadata["class_names"] is None
    images = kc.preprocess(pixels[:2])
    features = artefact(images)
    assert features.shape == (2, 2, 3, 24)
    expected = outputs_of(model, images)
    np.testing.assert_allclose(features, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.one_backend
@pytest.mark.parametrize("format", QUICK)
@pytest.mark.parametrize("stem_stride", [1, 2])
def test_other_stems_and_channels(format, stem_stride, make_model, outputs_of, tmp_path, rng):
    model = make_model(image_shape=(32, 48, 1), stem_stride=stem_stride)
    path = tmp_path / PATHS[format]
    normalisation = (0.286,), (0.353,)
    export_model(model, path, include_preprocessing=True, normalisation=normalisation)
    pixels = rng.integers(0, 256, (3, 32, 48, 1), dtype="uint8")
    expected = outputs_of(model, kc.preprocess(pixels, *normalisation))
    np.testing.assert_allclose(open_artefact(path)(pixels), expected, atol=5e-5)


def test_a_model_of_half_precision_is_exported_in_float32(make_model, pixels, outputs_of, tmp_path):
    model = make_model(image_shape=(64, 96, 3), dtype="mixed_bfloat16")
    path = tmp_path / "model.tflite"
    assert export_model(model, path).relative_difference < TOLERANCE
    expected = outputs_of(make_model(image_shape=(64, 96, 3)), kc.preprocess(pixels[:2]))
    np.testing.assert_allclose(open_artefact(path)(kc.preprocess(pixels[:2])), expected, atol=5e-5)


@pytest.mark.one_backend
def test_a_keras_file_holds_the_model_as_it_is(make_model, pixels, outputs_of, tmp_path):
    model = make_model()
    path = tmp_path / "model.keras"
    report = export_model(model, path, images=pixels[:4])
    assert report.relative_difference < TOLERANCE
    loaded = kc.from_preset(path)
    assert loaded.class_names == CLASS_NAMES
    images = kc.preprocess(pixels[:2])
    np.testing.assert_allclose(outputs_of(loaded, images), outputs_of(model, images), atol=1e-6)
    for options, named in (
        ({"batch_size": 2}, "batch_size"),
        ({"image_size": (64, 64)}, "image_size"),
        ({"batch_size": 1, "include_preprocessing": True}, "batch_size and include_preprocessing"),
        ({"output": "probabilities"}, r"output \(--activation of recipes.export\)"),
    ):
        with pytest.raises(ExportError, match=f"holds the model as it is: leave out {named}.$"):
            export_model(model, tmp_path / "other.keras", **options)
    assert not (tmp_path / "other.keras").exists()


@pytest.mark.one_backend
def test_an_artefact_that_computes_something_else_is_not_kept(make_model, tmp_path, monkeypatch):
    from keras_convnextv2.export import network

    monkeypatch.setattr(network, "EPSILON", 1e-6)
    fold = network._fold

    def wrong(weights, scale, shift, layer):
        fold(weights, scale, shift + (0.01 if layer == "head" else 0), layer)

    monkeypatch.setattr(network, "_fold", wrong)
    model, path = make_model(image_shape=(32, 32, 3)), tmp_path / "model.tflite"
    with pytest.raises(ExportError, match="of the range of Keras's outputs") as raised:
        export_model(model, path)
    assert raised.value.report.relative_difference > 1e-4
    assert list(tmp_path.iterdir()) == []
    report = export_model(model, path, keep_failed=True)
    assert path.is_file()
    assert "differs by" in report.problem
    assert json.loads(report_path(path).read_text())["problem"] == report.problem


@pytest.mark.one_backend
def test_nothing_is_overwritten(make_model, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"model\.tflite already"):
        export_model(make_model(), path)
    assert path.read_text() == "mine"


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("model.bin", {}, r"The ending of .*model\.bin names no format; they are \.tflite, \.onnx"),
        ("model.onnx", {"format": "litert"}, r"a litert artefact ends in \.tflite. Received: .*"),
        ("model.onnx", {"format": "coreml"}, "`format` must be one of saved_model, litert"),
        ("model.onnx", {"precision": "int8"}, "There is no int8 of the format onnx"),
        ("model.xml", {"precision": "dynamic_int8"}, "no dynamic_int8 of the format openvino"),
        ("model.tflite", {"precision": "int4"}, "`precision` must be one of float32, .*'int4'"),
        ("model.tflite", {"precision": "int8"}, "give `images` .*some 100 or more"),
        ("model.tflite", {"batch_size": 0}, "`batch_size` must be positive or None. Received: 0"),
        ("model.tflite", {"image_size": (16, 64)}, "at least 32 pixels a side. .*16, 64"),
        ("model.tflite", {"image_size": 64}, "`image_size` must be .height, width.. Received: 64"),
        ("model.tflite", {"output": "features"}, "'logits' or 'probabilities'. .*'features'"),
        ("model.tflite", {"normalisation": ((0.5,), (0.5,))}, "of 3 floats each"),
        ("model.tflite", {"labels": [1]}, "`labels` without `images`"),
        ("model.tflite", {"images": np.zeros((2, 32, 32, 3))}, "must be uint8 .*float64"),
        ("model.tflite", {"images": np.zeros((2, 32, 32, 1), "uint8")}, r"\(2, 32, 32, 1\)"),
        (
            "model.tflite",
            {"images": np.zeros((2, 32, 32, 3), "uint8"), "labels": [1]},
            r"one class an image, \(2,\). Received: \(1,\)",
        ),
    ],
)
def test_bad_settings_are_refused(path, options, message, make_model, tmp_path):
    with pytest.raises(ExportError, match=message):
        export_model(make_model(), tmp_path / path, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.one_backend
def test_other_models_are_refused(make_fcmae, tmp_path):
    with pytest.raises(ValueError, match="of an FCMAE, its backbone"):
        export_model(make_fcmae(), tmp_path / "model.tflite")
    images_of_four = kc.ConvNeXtV2Backbone(kc.Variant((1, 1, 1, 1), (4, 4, 4, 4)), (32, 32, 4))
    with pytest.raises(ExportError, match="4 channels have no usual normalisation"):
        export_model(images_of_four, tmp_path / "model.tflite")
    model = kc.ConvNeXtV2Classifier(
        kc.ConvNeXtV2Backbone(kc.Variant((1, 1, 1, 1), (4, 4, 4, 4)), (32, 32, 3)), 2, "relu"
    )
    with pytest.raises(ExportError, match="activation 'relu' cannot be exported"):
        export_model(model, tmp_path / "model.tflite")


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("missing", "path", "extra"),
    [
        ("ai_edge_litert", "model.tflite", "litert"),
        ("onnxruntime", "model.onnx", "onnx"),
        ("openvino", "model.xml", "openvino"),
        ("tensorflow", "model", "tensorflow"),
        ("torch", "model.pt2", "torch"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    missing, path, extra, make_model, tmp_path, monkeypatch
):
    import importlib.util

    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == missing else find_spec(name, *rest),
    )
    with pytest.raises(ModuleNotFoundError, match=rf"{missing}: pip install .*\[{extra}\]"):
        export_model(make_model(), tmp_path / path)


@pytest.mark.one_backend
def test_images_that_an_artefact_does_not_take_are_refused(make_model, tmp_path):
    path = tmp_path / "model.onnx"
    export_model(make_model(), path, image_size=(32, None))
    artefact = open_artefact(path)
    for images in (
        np.zeros((1, 32, 32, 3), "uint8"),
        np.zeros((1, 64, 32, 3), "float32"),
        np.zeros((32, 32, 3), "float32"),
        np.zeros((0, 32, 32, 3), "float32"),
    ):
        with pytest.raises(ValueError, match=r"takes float32 images \(N, 32, any, 3\). Received"):
            artefact(images)
    with pytest.raises(FileNotFoundError, match="There is no"):
        open_artefact(tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=r"is no artefact: expected .*\.tflite"):
        open_artefact(tmp_path)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("model.tflite", "ai_edge_litert"),
        ("model.onnx", "onnxruntime"),
        ("model.xml", "openvino"),
        ("model.pt2", "torch"),
    ],
)
def test_a_damaged_artefact_is_named_with_what_to_do(name, package, tmp_path):
    (tmp_path / name).write_bytes(b"this is no model" * 10)
    with pytest.raises(ValueError, match=f"{name} cannot be opened by {package}; copy or export"):
        open_artefact(tmp_path / name)


# What an artefact holds depends on the backend by the weights taken from it alone. SavedModel and
# .pt2 are written by processes of their own: the small models above stand for them.
DIVIDED = {
    "tensorflow": [("atto", "litert", "fixed"), ("atto", "openvino", "any size")],
    "jax": [("atto", "litert", "any size, pixels"), ("atto", "onnx", "any size")],
    "torch": [
        *(
            ("tiny", format, options)
            for format in QUICK
            for options in ("fixed", "any size, pixels")
        ),
        ("tiny", "openvino", "any size"),
        *((variant, "litert", "fixed") for variant in ("femto", "pico", "nano", "small", "base")),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "format", "options"), DIVIDED[keras.backend.backend()])
def test_variants_of_the_paper_are_exported(variant, format, options, make_model, tmp_path):
    model = make_model(num_classes=1000, variant=variant)
    report = export_model(model, tmp_path / PATHS[format], **OPTIONS[options])
    assert report.relative_difference < TOLERANCE
    assert report.num_bytes == pytest.approx(4 * model.count_params(), rel=0.1)
