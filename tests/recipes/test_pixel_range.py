"""Pixels of more than 8 bits: one range from training to prediction, said in one line."""

import json

import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.export import open_artefact
from tests.data.tiff_file import write_tiff
from tests.recipes.conftest import TINY
from tests.recipes.one_line import assert_one_line

pytestmark = pytest.mark.one_backend

RUN = (*TINY, "--image_size=16x24", "--batch_size=4", "--epochs=1")
FINETUNE = tuple(word for word in RUN if "decoder" not in word)


def write_folder(folder, dtype="uint16", shape=(16, 24), low=0, high=3000):
    """Two classes, of dark and of bright values, in train and test."""
    generator = np.random.default_rng(0)
    middle = (low + high) // 2
    for split, count in (("train", 6), ("test", 3)):
        for name, limits in (("dark", (low, middle)), ("light", (middle, high))):
            for number in range(count):
                values = generator.integers(*limits, shape).astype(dtype)
                write_tiff(folder / split / name / f"{number}.tif", values)
    return folder


def range_lines(outcome):
    return [line for line in outcome.err.splitlines() if line.startswith("pixel range")]


@pytest.fixture(scope="module")
def run(run_recipe, tmp_path_factory):
    """(the folder of images, the folder of the run, its outcome) of a fine-tuning."""
    folder = tmp_path_factory.mktemp("deep")
    images = write_folder(folder / "images")
    words = (*FINETUNE, f"--data_dir={images}", f"--output_dir={folder / 'run'}")
    outcome = run_recipe("finetune", *words, "--learning_rate=0.02", "--json")
    assert outcome.status == 0, outcome.err
    return images, folder / "run", outcome


def test_a_run_says_its_range_once_and_keeps_it(run):
    _, folder, outcome = run
    (line,) = range_lines(outcome)
    assert "0 to 4095, 12 bits by a scan of 12 of 12 file(s)" in line
    assert "--pixel_range=0,4095" in (folder / "settings.flags").read_text().splitlines()
    assert kc.from_preset(folder / "model").backbone.pixel_range == (0, 4095)


def test_a_prediction_takes_the_range_of_the_training(run, run_recipe, tmp_path):
    _, folder, _ = run
    dark = np.random.default_rng(3).integers(0, 200, (16, 24)).astype("uint16")  # a scan: 0 to 255
    write_tiff(tmp_path / "a.tif", dark)
    words = (f"--images={tmp_path}", "--json")
    by_run, by_flag, other = (
        run_recipe("predict", f"--model={folder}", *words, *more)
        for more in ((), ("--pixel_range=0,4095",), ("--pixel_range=0,255",))
    )
    assert [line.split(maxsplit=2)[2] for line in range_lines(by_run)] == [
        f"0 to 4095, what {folder} was trained with; --pixel_range=LOW,HIGH sets another"
    ]
    assert "by --pixel_range" in range_lines(by_flag)[0]
    probabilities = [
        {entry["class"]: entry["probability"] for entry in json.loads(outcome.out)["classes"]}
        for outcome in (by_run, by_flag, other)
    ]
    assert probabilities[0] == probabilities[1] != probabilities[2]


def test_evaluation_and_prediction_agree_on_deep_files(run, run_recipe):
    images, folder, outcome = run
    evaluated = run_recipe("evaluate", f"--weights={folder}", f"--data_dir={images}", "--json")
    assert evaluated.result["accuracy"] == pytest.approx(outcome.result["test_accuracy"])
    predicted = run_recipe("predict", f"--model={folder}", f"--images={images / 'test'}", "--json")
    lines = [json.loads(line) for line in predicted.out.splitlines()]
    right = [f"/{line['classes'][0]['class']}/" in line["file"] for line in lines]
    assert np.mean(right) == pytest.approx(evaluated.result["accuracy"])
    assert len(right) == 6


def test_an_artefact_says_the_range_and_predict_takes_it(run, run_recipe, tmp_path):
    images, folder, _ = run
    path = tmp_path / "model.onnx"
    words = (f"--weights={folder}", f"--output={path}", f"--data_dir={images}")
    exported = run_recipe("export", *words, "--include_preprocessing", "--json")
    assert exported.status == 0, exported.err
    assert "what" in range_lines(exported)[0] and len(range_lines(exported)) == 1
    assert open_artefact(path).metadata["input"]["pixel_range"] == [0, 4095]
    scores = []
    for model in (folder, path):
        outcome = run_recipe("predict", f"--model={model}", f"--images={images / 'test'}", "--json")
        assert "0 to 4095, what" in range_lines(outcome)[0]
        scores.append([json.loads(line)["classes"][0] for line in outcome.out.splitlines()])
    outcome = run_recipe("predict", f"--model={path}", f"--images={images / 'test'}", "--std=1")
    assert_one_line(outcome, "predict", "--mean and --std", "keeps its own")
    for own, other in zip(*scores, strict=True):
        assert own["class"] == other["class"]
        # float32 rounding in another order of sums.
        assert own["probability"] == pytest.approx(other["probability"], abs=1e-4)


def test_finetuning_takes_the_range_of_the_weights_for_images_within_it(run, run_recipe, tmp_path):
    _, folder, _ = run
    for high, origin in ((700, "was trained with"), (30000, "a scan of 12")):
        images = write_folder(tmp_path / str(high), high=high)
        words = (*FINETUNE, f"--data_dir={images}", f"--weights={folder}", "--dry_run")
        flags = [word for word in words if not word.startswith(TINY)]
        outcome = run_recipe("finetune", *flags, f"--output_dir={tmp_path / 'run'}")
        assert outcome.status == 0, outcome.err
        assert origin in range_lines(outcome)[-1]
    assert range_lines(outcome)[0].endswith(
        "was trained with, is less than these images' 0 to 65535"
    )


def test_a_model_that_says_nothing_takes_what_the_files_say(run_recipe, tmp_path):
    backbone = kc.ConvNeXtV2Backbone(kc.Variant((1, 1, 1, 1), (4, 6, 8, 12)), (32, 32, 3))
    backbone.save(tmp_path / "model.keras")
    values = np.random.default_rng(3).integers(0, 700, (16, 24)).astype("uint16")
    write_tiff(tmp_path / "images" / "a.tif", values, fields={281: 800})
    words = (f"--model={tmp_path / 'model.keras'}", f"--images={tmp_path / 'images'}")
    outcome = run_recipe("predict", *words)
    assert outcome.status == 0, outcome.err
    assert "0 to 800, by the fields of 1 file(s)" in range_lines(outcome)[0]


def test_signed_values_of_a_given_range(run_recipe, tmp_path):
    images = write_folder(tmp_path / "images", "int16", low=-1000, high=2000)
    words = (*RUN, f"--data_dir={images}", f"--output_dir={tmp_path / 'run'}")
    outcome = run_recipe("pretrain", *words, "--pixel_range=-1024,3071.5")
    assert outcome.status == 0, outcome.err
    assert "-1024 to 3071.5, by --pixel_range" in range_lines(outcome)[0]
    assert "--pixel_range=-1024,3071.5" in (tmp_path / "run" / "settings.flags").read_text()
    assert kc.from_preset(tmp_path / "run" / "model").pixel_range == (-1024, 3071.5)


def test_thirteen_bands_from_pretraining_to_prediction(run_recipe, tmp_path):
    images = write_folder(tmp_path / "images", shape=(16, 24, 13))
    pretrained, finetuned = tmp_path / "pretrained", tmp_path / "finetuned"
    data = f"--data_dir={images}"
    done = run_recipe("pretrain", *RUN, data, f"--output_dir={pretrained}")
    assert done.status == 0, done.err
    words = (f"--weights={pretrained}", "--batch_size=4", "--epochs=1", data)
    done = run_recipe("finetune", *words, f"--output_dir={finetuned}", "--json")
    assert done.status == 0, done.err
    evaluated = run_recipe("evaluate", f"--weights={finetuned}", data, "--json")
    assert evaluated.result["accuracy"] == pytest.approx(done.result["test_accuracy"])
    outcome = run_recipe("predict", f"--model={finetuned}", f"--images={images / 'test'}", "--json")
    assert outcome.status == 0, outcome.err
    assert len(outcome.out.splitlines()) == 6


def test_a_file_of_other_channels_than_the_models_is_named(run_recipe, tmp_path):
    backbone = kc.ConvNeXtV2Backbone(kc.Variant((1, 1, 1, 1), (4, 6, 8, 12)), (32, 32, 3))
    backbone.save(tmp_path / "model.keras")
    write_tiff(tmp_path / "a.tif", np.ones((16, 24, 13), "uint8"))
    words = (f"--model={tmp_path / 'model.keras'}", f"--images={tmp_path / 'a.tif'}")
    outcome = run_recipe("predict", *words)
    assert_one_line(outcome, "predict", "1 of 1 files could not be read")
    assert "a.tif cannot be read as an image (ValueError: it has 13 channels, not 3)" in outcome.err


@pytest.mark.parametrize("given", ["4095", "5,5", "low,high", "0,1,2", "0,nan"])
def test_a_flag_that_is_no_range(run_recipe, tmp_path, given):
    words = (f"--output_dir={tmp_path / 'run'}", f"--pixel_range={given}")
    outcome = run_recipe("pretrain", *words)
    assert_one_line(outcome, "pretrain", "--pixel_range is two numbers", repr(given))


def test_a_range_for_images_of_8_bits_is_said_to_be_of_none(run_recipe, tiny_run, tmp_path):
    words = (*tiny_run, f"--output_dir={tmp_path / 'run'}", "--pixel_range=0,4095", "--dry_run")
    outcome = run_recipe("pretrain", *words)
    assert outcome.status == 0, outcome.err
    assert "--pixel_range: no image has more than 8 bits: 24 images" in outcome.err
    assert range_lines(outcome) == []
