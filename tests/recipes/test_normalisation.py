"""What images are normalised with: the model says it, wherever it and its images are moved."""

import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.runs import newest_checkpoint

pytestmark = pytest.mark.one_backend

OWN = (0.5,) * 3, pytest.approx((0.3,) * 3)  # of the run's images; float32 in their file


@pytest.fixture
def finetuned(run_recipe, tiny_run, tmp_path):
    folder = tmp_path / "run"
    words = [word for word in tiny_run if not word.startswith("--decoder")]
    words += ["--learning_rate=0.02", "--label_smoothing=0", "--crop_scale="]  # learns in 6 steps
    outcome = run_recipe("finetune", *words, f"--output_dir={folder}")
    assert outcome.status == 0, outcome.err
    return folder


def test_what_a_run_saves_says_what_its_images_were_normalised_with(finetuned):
    for path in (finetuned / "model", newest_checkpoint(finetuned / "checkpoints")):
        model = kc.from_preset(path)
        assert model.backbone.normalisation == OWN


def test_a_pretraining_says_it_and_a_fine_tuning_of_it_says_its_own(
    run_recipe, tiny_run, images_dir, tmp_path
):
    pretrained, finetuned, other = (tmp_path / name for name in ("a", "b", "other"))
    done = run_recipe("pretrain", *tiny_run, "--epochs=1", f"--output_dir={pretrained}")
    assert done.status == 0, done.err
    assert kc.from_preset(pretrained / "model").normalisation == OWN
    shift(images_dir, other)
    words = (f"--weights={pretrained}", f"--data_dir={other}", "--epochs=1", "--batch_size=8")
    done = run_recipe("finetune", *words, f"--output_dir={finetuned}")
    assert done.status == 0, done.err
    mean, std = kc.from_preset(finetuned / "model").backbone.normalisation
    assert (mean, std) == (pytest.approx((0.7,) * 3), OWN[1])


def shift(images_dir, other):
    """The same images in another folder, which calls for a brighter mean."""
    other.mkdir()
    for split in ("train", "test"):
        with np.load(images_dir / f"{split}.npz") as arrays:
            np.savez(other / f"{split}.npz", **{**arrays, "mean": arrays["mean"] + 0.2})


def test_images_are_evaluated_with_the_models_numbers_not_with_their_own(
    run_recipe, finetuned, images_dir, tmp_path
):
    shift(images_dir, tmp_path / "other")
    expected, *others = (
        run_recipe("evaluate", f"--weights={finetuned}", f"--data_dir={folder}", *more, "--json")
        for folder, more in (
            (images_dir, ()),
            (tmp_path / "other", ()),
            (images_dir, ("--mean=0.7,0.7,0.7", "--std=0.3,0.3,0.3")),
        )
    )
    losses = [outcome.result["loss"] for outcome in others]
    assert losses[0] == pytest.approx(expected.result["loss"], rel=1e-6)
    assert losses[1] != pytest.approx(expected.result["loss"], rel=1e-3)
    assert not any("normalised with" in outcome.err for outcome in (expected, *others))


def test_a_model_that_says_nothing_has_a_line_on_what_is_taken_and_why(
    run_recipe, finetuned, images_dir, tmp_path
):
    model = kc.from_preset(finetuned / "model")
    model.backbone.normalisation = None
    model.save(tmp_path / "alone.keras")
    words = (f"--weights={tmp_path / 'alone.keras'}", f"--data_dir={images_dir}", "--json")
    outcome = run_recipe("evaluate", *words)
    assert outcome.status == 0, outcome.err
    (line,) = [line for line in outcome.err.splitlines() if "normalised with" in line]
    assert line.startswith(f"{tmp_path / 'alone.keras'} does not say what its images were ")
    assert "mean 0.5, 0.5, 0.5, std 0.3, 0.3, 0.3, " in line
    assert f"those of the images: 9 images in 3 classes in {images_dir}" in line


def test_an_exported_keras_file_says_what_was_settled(run_recipe, finetuned, images_dir, tmp_path):
    by_flags = ("--mean=0.1,0.2,0.3", "--std=0.5,0.6,0.7")
    words = (f"--weights={finetuned}", f"--output={tmp_path / 'a.keras'}", *by_flags)
    outcome = run_recipe("export", *words, f"--data_dir={images_dir}")
    assert outcome.status == 0, outcome.err
    said = kc.from_preset(tmp_path / "a.keras").backbone.normalisation
    assert said == ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
