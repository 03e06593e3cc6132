"""Weights of a model that takes images of any size."""

import pytest

import keras_convnextv2 as kc
from tests.recipes.one_line import assert_one_line

# That models of any size run on each backend is tested in tests/models.
pytestmark = pytest.mark.one_backend


@pytest.fixture
def any_size():
    sizes = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
    return kc.ConvNeXtV2Backbone(sizes, (None, None, 3))


def test_fine_tuning_takes_the_size_from_the_flag_or_the_default(
    run_recipe, any_size, images_dir, tmp_path
):
    any_size.save(tmp_path / "any.keras")
    words = (f"--weights={tmp_path / 'any.keras'}", f"--data_dir={images_dir}", "--batch_size=8")
    for size, shift in ((), "14"), (("--image_size=32x64",), "2"):
        folder = tmp_path / f"run{shift}"
        outcome = run_recipe("finetune", *words, *size, f"--output_dir={folder}", "--epochs=1")
        assert outcome.status == 0, outcome.err
        settings = (folder / "settings.flags").read_text().splitlines()
        assert f"--max_shift={shift}" in settings  # a sixteenth of 224, or of 32
        assert f"--image_size={'32x64' if size else '224'}" in settings


def test_evaluation_takes_the_size_from_the_flag(run_recipe, any_size, images_dir, tmp_path):
    path = tmp_path / "classifier.keras"
    kc.ConvNeXtV2Classifier(any_size, num_classes=3).save(path)
    words = (f"--weights={path}", f"--data_dir={images_dir}", "--json")
    outcome = run_recipe("evaluate", *words, "--image_size=32x64")
    assert outcome.status == 0, outcome.err
    assert outcome.result["images"] == 9
    assert run_recipe("evaluate", *words).result["loss"] != outcome.result["loss"]  # at 224


def test_a_size_that_the_model_does_not_take(run_recipe, images_dir, tmp_path):
    sizes = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
    backbone = kc.ConvNeXtV2Backbone(sizes, (16, None, 3), stem_stride=1)
    kc.ConvNeXtV2Classifier(backbone, num_classes=3).save(tmp_path / "classifier.keras")
    words = (f"--weights={tmp_path / 'classifier.keras'}", f"--data_dir={images_dir}")
    assert run_recipe("evaluate", *words, "--image_size=16x40").status == 0
    outcome = run_recipe("evaluate", *words, "--image_size=24x16")
    assert_one_line(outcome, "evaluate", "16xNone", "--image_size=24x16")
