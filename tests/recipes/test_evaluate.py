"""recipes.evaluate: a classifier's figures on the screen, tables and pictures in a folder."""

import csv
import dataclasses
import json
from pathlib import PurePath

import numpy as np
import PIL.Image
import pytest

import keras_convnextv2 as kc
from keras_convnextv2 import analysis, data
from recipes import evaluated_images, evaluation_report
from tests.recipes.one_line import assert_one_line

FILES = {"per_class.csv", "report.json", "confusion.png", "worst.png", "reliability.png"}


@pytest.fixture(scope="module")
def classifier(finetuned, tmp_path_factory):
    """(the model of a run with a temperature, its file)."""
    model = kc.from_preset(finetuned.folder / "model")
    model.temperature = 0.25
    path = tmp_path_factory.mktemp("classifier") / "model.keras"
    model.save(path)
    return model, path


def expected_of(model, images_dir, split="test", flips=False):
    """(probabilities, labels) of a split, by the model alone."""
    with np.load(images_dir / f"{split}.npz") as arrays:
        images = kc.preprocess(arrays["images"], arrays["mean"], arrays["std"])
        labels = arrays["labels"]
    views = [images, np.ascontiguousarray(images[:, :, ::-1])] if flips else [images]
    outputs = [model.probabilities(model.predict(view, verbose=0)) for view in views]
    return np.mean(outputs, 0), labels


@pytest.mark.one_backend
@pytest.mark.parametrize("flips", [False, True])
def test_the_figures_are_those_of_the_models_probabilities(
    flips, run_recipe, classifier, shared_images_dir
):
    model, path = classifier
    words = [f"--weights={path}", f"--data_dir={shared_images_dir}", "--batch_size=4", "--json"]
    outcome = run_recipe("evaluate", *words, "--top=2", *(["--tta"] if flips else []))
    assert outcome.status == 0, outcome.err
    probabilities, labels = expected_of(model, shared_images_dir, flips=flips)
    expected = analysis.classification_summary(probabilities, labels, top_k=2)
    assert "top_2_accuracy" in expected
    for name, value in expected.items():
        # Other batches round float32 differently, which the error in bins may show most.
        np.testing.assert_allclose(outcome.result[name], value, rtol=1e-4, err_msg=name)
    assert outcome.result["temperature"] == 0.25 and outcome.result["flips"] == flips
    assert outcome.result["loss"] != outcome.result["negative_log_likelihood"]
    assert [row["class"] for row in outcome.result["per_class"]] == ["boot", "coat", "dress"]
    assert [row["support"] for row in outcome.result["per_class"]] == [3, 3, 3]


@pytest.mark.one_backend
def test_the_folder_has_tables_and_pictures(run_recipe, classifier, shared_images_dir, tmp_path):
    model, path = classifier
    folder = tmp_path / "new" / "report"
    words = (f"--weights={path}", f"--data_dir={shared_images_dir}", f"--output_dir={folder}")
    outcome = run_recipe("evaluate", *words, "--split=train", "--worst=3")
    assert outcome.status == 0, outcome.err
    assert "expected calibration error" in outcome.out and "lowest f1" in outcome.out
    assert {file.name for file in folder.iterdir()} == FILES
    probabilities, labels = expected_of(model, shared_images_dir, "train")
    confusion = analysis.confusion_matrix(probabilities.argmax(1), labels, 3)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["confusion"] == confusion.tolist() and report["images"] == 24
    assert sum(report["reliability"]["count"]) == 24
    mistakes = analysis.worst_mistakes(probabilities, labels, 3)
    names = ("boot", "coat", "dress")
    assert len(mistakes) > 0
    for found, mistake in zip(report["worst_mistakes"], mistakes, strict=True):
        assert found["image"] == f"image {mistake.index}"
        assert (found["right"], found["said"]) == (names[mistake.right], names[mistake.said])
    with open(folder / "per_class.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    recalls = confusion.diagonal() / confusion.sum(1)
    np.testing.assert_allclose([float(row["recall"]) for row in rows], recalls)
    for name in FILES:
        if name.endswith(".png"):
            with PIL.Image.open(folder / name) as picture:
                assert len(picture.getcolors(1 << 24)) > 10  # it is not empty
    again = run_recipe("evaluate", *words)
    assert_one_line(again, "evaluate", "--output_dir", "not empty")


@pytest.mark.one_backend
def test_all_images_of_a_folder_are_measured_once(run_recipe, classifier, images_dir):
    model, path = classifier
    words = (f"--weights={path}", f"--data_dir={images_dir}", "--json")
    outcome = run_recipe("evaluate", *words, "--split=all")
    assert outcome.status == 0, outcome.err
    assert "33 images in 3 classes: 24 images in 3 classes in " in outcome.err
    pairs = [expected_of(model, images_dir, split) for split in ("train", "test")]
    probabilities, labels = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    expected = analysis.classification_summary(probabilities, labels)
    assert outcome.result["images"] == 33 and outcome.result["split"] == "all"
    for name in ("accuracy", "negative_log_likelihood"):
        np.testing.assert_allclose(outcome.result[name], expected[name], rtol=1e-4)
    # Nothing has been held out for validation by a run that is not known.
    again = run_recipe("evaluate", *words, "--split=validation")
    assert_one_line(again, "evaluate", "no validation split")
    with np.load(images_dir / "test.npz") as arrays:
        arrays = {**arrays, "images": arrays["images"][:, :8]}
    np.savez(images_dir / "test.npz", **arrays)
    assert_one_line(run_recipe("evaluate", *words, "--split=all"), "evaluate", "train and test are")


@pytest.mark.one_backend
@pytest.mark.parametrize("splits", [("",), ("train", "val"), ("train", "val", "test"), ("train",)])
def test_all_files_of_a_folder_are_taken_once(splits, tmp_path):
    paths = []
    for split in splits:
        for name in ("boot", "coat"):
            (tmp_path / split / name).mkdir(parents=True, exist_ok=True)
            for number in range(6):
                paths.append(str(tmp_path / split / name / f"{number}.png"))
                PIL.Image.new("RGB", (9, 9)).save(paths[-1])
    source = evaluated_images.all_splits(lambda split: data.open_source(tmp_path, split))
    assert sorted(source.records) == sorted(paths)
    for path, label in zip(source.records, source.labels, strict=True):
        assert source.class_names[label] == PurePath(path).parent.name


@pytest.mark.one_backend
def test_splits_of_other_classes_are_not_joined(tmp_path):
    for name in ("val/boot", "val/coat", "val/dress", "test/boot", "test/dress"):
        (tmp_path / name).mkdir(parents=True)
        PIL.Image.new("RGB", (9, 9)).save(tmp_path / name / "0.png")
    with pytest.raises(ValueError, match="'boot', 'coat', 'dress' and test 'boot', 'dress'"):
        evaluated_images.all_splits(lambda split: data.open_source(tmp_path, split))


@pytest.fixture
def several_labels(monkeypatch):
    """Lets images have several labels each: their class, and the next one of every third."""
    open_source = data.open_source

    def opened(*arguments):
        source = open_source(*arguments)
        rows = np.eye(3, dtype="float32")[source.labels]
        rows[::3] += np.roll(rows[::3], 1, axis=1)
        return dataclasses.replace(source, labels=rows)

    monkeypatch.setattr(data, "open_source", opened)


@pytest.mark.one_backend
def test_images_of_several_labels(
    several_labels, run_recipe, classifier, shared_images_dir, tmp_path
):
    one_label, path = classifier
    words = (f"--data_dir={shared_images_dir}", "--json", f"--output_dir={tmp_path / 'report'}")
    outcome = run_recipe("evaluate", f"--weights={path}", *words)
    assert_one_line(outcome, "evaluate", "several labels each", "multi_label=True")
    model = kc.ConvNeXtV2Classifier(
        one_label.backbone, 3, class_names=one_label.class_names, multi_label=True
    )
    model.set_weights(one_label.get_weights())
    model.save(tmp_path / "several.keras")
    outcome = run_recipe("evaluate", f"--weights={tmp_path / 'several.keras'}", *words)
    assert outcome.status == 0, outcome.err
    probabilities, labels = expected_of(model, shared_images_dir)
    rows = np.eye(3)[labels]
    rows[::3] += np.roll(rows[::3], 1, axis=1)
    for name, value in analysis.classification_summary(probabilities, rows).items():
        np.testing.assert_allclose(outcome.result[name], value, rtol=1e-4, err_msg=name)
    assert [row["support"] for row in outcome.result["per_class"]] == rows.sum(0).tolist()
    assert {file.name for file in (tmp_path / "report").iterdir()} == FILES - {"confusion.png"}


@pytest.mark.one_backend
@pytest.mark.parametrize("flag", ["--tta", "--output_dir=somewhere"])
def test_what_is_of_classifiers_is_refused_for_a_pretraining(
    flag, run_recipe, pretrained, shared_images_dir
):
    checkpoint = pretrained.folder / "checkpoints"
    words = (f"--weights={checkpoint}", f"--data_dir={shared_images_dir}", flag)
    assert_one_line(run_recipe("evaluate", *words), "evaluate", "--tta and --output_dir")


@pytest.mark.one_backend
@pytest.mark.parametrize("num_classes", [200, 201])
def test_many_classes_and_names_that_are_not_utf8(num_classes, images_dir, tmp_path):
    source = data.open_source(images_dir, "test")
    names = (*(f"class {number}" for number in range(num_classes - 1)), "b\udcff")
    source = dataclasses.replace(source, class_names=names)
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(num_classes), len(source)).astype("float32")
    found = analysis.Predictions(probabilities, source.labels, 1.0)
    classes = evaluation_report.per_class(probabilities, source.labels, names)
    batches = data.ImageBatches(source, (16, 16), 4, labelled=True)
    evaluation_report.write(tmp_path / "report", {}, classes, found, batches, 2)
    text = (tmp_path / "report" / "per_class.csv").read_text(encoding="utf-8")
    assert text.splitlines()[-1].startswith(r"b\udcff,")
    expected = analysis.confusion_matrix(probabilities.argmax(1), source.labels, num_classes)
    report = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    if num_classes == 200:
        assert report["confusion"] == expected.tolist()
        assert {file.name for file in (tmp_path / "report").iterdir()} == FILES
        return
    assert report["confusion"] is None
    with np.load(tmp_path / "report" / "confusion.npz") as stored:
        assert stored["confusion"].dtype.kind == "i"
        np.testing.assert_array_equal(stored["confusion"], expected)
