"""recipes.export: a run becomes an artefact, tried on the images that the flags name."""

import importlib.util
import json

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.export import open_artefact
from tests.recipes.one_line import assert_one_line
from tests.reference.random_weights import randomize

# The mean and deviation of the run's images, which are not ImageNet's.
MEAN, STD = [0.5] * 3, [0.3] * 3


@pytest.fixture
def untrained(tmp_path):
    """Makes the .keras file of a classifier with random weights."""

    def make(channels=3):
        backbone = kc.ConvNeXtV2Backbone(
            kc.Variant((1, 1, 1, 1), (4, 6, 8, 12)), (32, 48, channels)
        )
        model = kc.ConvNeXtV2Classifier(backbone, 3)
        randomize(model, np.random.default_rng(5))
        model.save(tmp_path / "untrained.keras")
        return tmp_path / "untrained.keras"

    return make


@pytest.mark.one_backend
def test_a_run_is_exported_with_its_normalisation_and_compared(
    run_recipe, finetuned, images_dir, tmp_path
):
    path = tmp_path / "model.onnx"
    outcome = run_recipe(
        "export",
        *(f"--weights={finetuned.folder}", f"--output={path}", f"--data_dir={images_dir}"),
        *("--include_preprocessing", "--batch_size=2", "--activation=softmax", "--json"),
    )
    assert outcome.status == 0, outcome.err
    words = (f"--weights={finetuned.folder}", f"--data_dir={images_dir}", "--json")
    accuracy = run_recipe("evaluate", *words).result["accuracy"]
    report = outcome.result
    assert report["artefact"] == str(path) and report["format"] == "onnx"
    np.testing.assert_allclose((report["accuracy"], report["keras_accuracy"]), accuracy, rtol=1e-6)
    assert report["relative_difference"] < 1e-5  # float32 rounding, far within what is allowed
    assert report["agreement"] == 1 and report["num_images"] == 9
    assert report == json.loads((tmp_path / "model.onnx.check.json").read_text())
    artefact = open_artefact(path)
    assert artefact.metadata["class_names"] == ["boot", "coat", "dress"]
    assert artefact.metadata["output"]["kind"] == "probabilities"
    taken = artefact.metadata["input"]
    assert (taken["shape"], taken["dtype"]) == ([2, 16, 24, 3], "uint8")
    np.testing.assert_allclose((taken["mean"], taken["std"]), (MEAN, STD), rtol=1e-6)


@pytest.mark.one_backend
def test_the_runs_normalisation_goes_before_that_of_the_images_tried(
    run_recipe, finetuned, images_dir, tmp_path
):
    other = tmp_path / "other"
    other.mkdir()
    for split in ("train", "test"):
        with np.load(images_dir / f"{split}.npz") as arrays:
            brighter = {**arrays, "mean": arrays["mean"] + 0.2, "class_names": list("abc")}
            np.savez(other / f"{split}.npz", **brighter)
    words = (f"--weights={finetuned.folder}", f"--data_dir={other}")
    outcome = run_recipe("export", *words, f"--output={tmp_path / 'a.onnx'}", "--json")
    assert outcome.status == 0, outcome.err
    assert "not of the model's classes" in outcome.err
    assert outcome.result["accuracy"] is None
    by_flags = ("--mean=0.1,0.2,0.3", "--std=0.5,0.6,0.7")
    outcome = run_recipe("export", *words, f"--output={tmp_path / 'b.onnx'}", *by_flags)
    assert outcome.status == 0, outcome.err
    taken = [open_artefact(tmp_path / name).metadata["input"] for name in ("a.onnx", "b.onnx")]
    np.testing.assert_allclose((taken[0]["mean"], taken[0]["std"]), (MEAN, STD), rtol=1e-6)
    assert (taken[1]["mean"], taken[1]["std"]) == ([0.1, 0.2, 0.3], [0.5, 0.6, 0.7])


@pytest.mark.one_backend
def test_int8_is_calibrated_by_the_training_images(run_recipe, finetuned, images_dir, tmp_path):
    path = tmp_path / "model.tflite"
    outcome = run_recipe(
        "export",
        *(f"--weights={finetuned.folder}", f"--output={path}", f"--data_dir={images_dir}"),
        *("--precision=int8", "--keep_failed", "--trial_images=4"),
    )
    assert outcome.status == 0, outcome.err
    report = json.loads((tmp_path / "model.tflite.check.json").read_text())
    assert report["precision"] == "int8" and report["num_images"] == 4
    told = dict(line.split(maxsplit=1) for line in outcome.out.splitlines())
    assert told["artefact"] == str(path)
    assert told["trial"].startswith("passed" if report["problem"] is None else "FAILED: ")
    assert "calibrated with 24 training images, all there are" in outcome.err
    assert told["images"] == f"4, {report['agreement']:.1%} with the first class of Keras"
    assert told["size"] == f"{path.stat().st_size / 1e6:.2f} MB"
    assert open_artefact(path)(np.zeros((1, 16, 24, 3), "float32")).shape == (1, 3)


@pytest.mark.one_backend
def test_a_pretraining_gives_its_backbone_of_any_size(run_recipe, pretrained, tmp_path):
    path = tmp_path / "model.tflite"
    words = (f"--weights={pretrained.folder}", f"--output={path}", "--image_size=any")
    outcome = run_recipe("export", *words)
    assert outcome.status == 0, outcome.err
    assert "own size" not in outcome.err
    artefact = open_artefact(path)
    assert artefact.metadata["model"] == "backbone"
    assert artefact(np.zeros((1, 24, 40, 3), "float32")).shape == (1, 3, 5, 12)


@pytest.mark.one_backend
def test_a_size_that_is_not_the_models_own_is_remarked(run_recipe, untrained, tmp_path):
    words = (f"--weights={untrained()}", "--image_size=64x48")
    outcome = run_recipe("export", *words, f"--output={tmp_path / 'model.onnx'}")
    assert outcome.status == 0, outcome.err
    assert "the model's own size is 32 x 48 pixels; at 64 x 48 its accuracy" in outcome.err
    assert open_artefact(tmp_path / "model.onnx").metadata["input"]["shape"] == [None, 64, 48, 3]


@pytest.mark.one_backend
def test_a_model_without_a_size_is_exported_at_224_pixels(run_recipe, tmp_path):
    backbone = kc.ConvNeXtV2Backbone(kc.Variant((1, 1, 1, 1), (4, 4, 4, 4)), (None, None, 3))
    backbone.save(tmp_path / "any.keras")
    words = (f"--weights={tmp_path / 'any.keras'}", f"--output={tmp_path / 'model.onnx'}")
    assert run_recipe("export", *words).status == 0
    assert open_artefact(tmp_path / "model.onnx").metadata["input"]["shape"] == [None, 224, 224, 3]


@pytest.mark.one_backend
def test_a_keras_file_of_a_grey_model_and_the_embedded_images(run_recipe, untrained, tmp_path):
    words = (f"--weights={untrained(channels=1)}", f"--output={tmp_path / 'model.keras'}")
    outcome = run_recipe("export", *words, "--trial_images=3", "--json")
    assert outcome.status == 0, outcome.err
    assert outcome.result["num_images"] == 3
    assert kc.from_preset(tmp_path / "model.keras").num_classes == 3


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--output=model.bin"], ["model.bin names no format"]),
        (["--output=model.onnx", "--precision=int8"], ["no int8 of the format onnx"]),
        (["--output=model.tflite", "--precision=int8"], ["int8", "--data_dir"]),
        (["--output=model.onnx", "--image_size=wide"], ["'wide'", "HxW"]),
        (["--output=model.onnx", "--mean=0.1"], ["--mean and --std are 3 number(s) each"]),
        (["--output=model.onnx", "--data_dir=nowhere"], ["nowhere does not exist"]),
        (["--output=model.onnx", "--weights=nowhere.keras"], ["--weights", "nowhere.keras"]),
        (["--output=model.onnx", "--format=coreml"], ["--format", "coreml"]),
    ],
)
def test_what_cannot_be(run_recipe, untrained, tmp_path, monkeypatch, words, parts):
    monkeypatch.chdir(tmp_path)
    path = untrained()
    outcome = run_recipe("export", f"--weights={path}", *words)
    assert_one_line(outcome, "export", *parts)
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.one_backend
def test_a_backbone_has_no_activation(run_recipe, tmp_path):
    backbone = kc.ConvNeXtV2Backbone(kc.Variant((1, 1, 1, 1), (4, 4, 4, 4)), (32, 32, 3))
    backbone.save(tmp_path / "backbone.keras")
    words = (f"--weights={tmp_path / 'backbone.keras'}", f"--output={tmp_path / 'model.onnx'}")
    outcome = run_recipe("export", *words, "--activation=softmax")
    assert_one_line(outcome, "export", "--activation", "backbone")


@pytest.mark.one_backend
def test_images_of_other_channels(run_recipe, untrained, images_dir, tmp_path):
    words = (f"--weights={untrained(channels=1)}", f"--data_dir={images_dir}")
    outcome = run_recipe("export", *words, f"--output={tmp_path / 'model.onnx'}")
    assert_one_line(outcome, "export", "images of 1 channels", "have 3")


@pytest.mark.one_backend
def test_a_failed_trial_is_one_line(run_recipe, untrained, tmp_path, monkeypatch):
    from keras_convnextv2.export import check

    monkeypatch.setitem(check.TOLERANCES, "float32", -1.0)
    words = (f"--weights={untrained()}", f"--output={tmp_path / 'model.onnx'}")
    outcome = run_recipe("export", *words)
    assert_one_line(outcome, "export", "does not compute what the model computes", "range")
    assert not (tmp_path / "model.onnx").exists()
    outcome = run_recipe("export", *words, "--keep_failed")
    assert outcome.status == 0, outcome.err
    assert "FAILED: output" in outcome.out and (tmp_path / "model.onnx").exists()


def test_a_format_whose_framework_is_not_installed(run_recipe, untrained, tmp_path, monkeypatch):
    package, output = ("tensorflow", "exported")
    if keras.backend.backend() == "tensorflow":
        package, output = ("torch", "model.pt2")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == package else find_spec(name, *rest),
    )
    outcome = run_recipe("export", f"--weights={untrained()}", f"--output={tmp_path / output}")
    assert_one_line(outcome, "export", f"{package} is not installed", f"'.[{package}]'")
    assert "KERAS_BACKEND" not in outcome.err
