"""A run of each recipe, on tiny random images."""

import json

import keras
import numpy as np
import PIL.Image
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.analysis.curves import panels_of, read_metrics


def without_decoder(words):
    return [word for word in words if not word.startswith("--decoder")]


def settings_but_folder(folder):
    lines = (folder / "settings.flags").read_text().splitlines()
    return [line for line in lines if not line.startswith("--output_dir=")]


def test_pretraining_leaves_a_model_a_log_settings_and_pictures(pretrained):
    folder, outcome = pretrained.folder, pretrained.outcome
    assert outcome.result["model"] == str(folder / "model")

    backbone = kc.from_preset(folder / "model")
    assert backbone.variant == kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
    assert backbone.image_shape == (16, 24, 3)
    newest = kc.runs.newest_checkpoint(folder / "checkpoints")
    assert newest.name == "step-00000006"
    fcmae = kc.from_preset(newest)
    assert isinstance(fcmae, kc.FCMAE)
    for trained, saved in zip(fcmae.backbone.get_weights(), backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(trained, saved)
    optimizer = json.loads((newest / "state.json").read_text())["settings"]["optimizer"]
    assert (optimizer["beta_1"], optimizer["beta_2"]) == (0.9, 0.95)  # the paper's

    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert [line["step"] for line in lines] == [3, 6]
    assert all(np.isfinite(line["loss"]) for line in lines)
    assert outcome.result["loss"] == lines[-1]["loss"]

    picture = PIL.Image.open(folder / "reconstructions.png")
    assert picture.mode == "RGB"
    # Eight columns of 24-pixel-wide images, each pixel drawn 8 wide, beside the labels.
    assert picture.width > 8 * 24 * 8


@pytest.mark.one_backend
def test_settings_start_the_run_again_with_the_same_result(run_recipe, pretrained, tmp_path):
    first, second = pretrained.folder, tmp_path / "second"
    loss = pretrained.outcome.result["loss"]
    again = run_recipe(
        "pretrain", f"--flagfile={first / 'settings.flags'}", f"--output_dir={second}", "--json"
    )
    assert again.status == 0, again.err
    assert again.result["loss"] == loss
    assert settings_but_folder(first) == settings_but_folder(second)


@pytest.mark.one_backend
def test_the_order_of_each_epoch_follows_from_its_number(
    run_recipe, tiny_run, tmp_path, monkeypatch
):
    asked, taken, real = [], {}, kc.data.ImageBatches.__getitem__

    def getitem(batches, index):
        (images,) = real(batches, index)
        asked.append((batches.epoch, index))
        taken.setdefault(batches.epoch, []).extend(image.tobytes() for image in images)
        return (images,)

    monkeypatch.setattr(kc.data.ImageBatches, "__getitem__", getitem)
    words = (
        *tiny_run,
        f"--output_dir={tmp_path / 'run'}",
        "--max_shift=0",
        "--flip=none",
        "--crop_scale=",
    )
    outcome = run_recipe("pretrain", *words)
    assert outcome.status == 0, outcome.err
    # Before, Keras draws some batches to learn their shapes.
    assert asked[-6:] == [(epoch, index) for epoch in (0, 1) for index in range(3)]
    first, second = (taken[epoch][-24:] for epoch in (0, 1))
    assert sorted(first) == sorted(second) and first != second


@pytest.mark.one_backend
def test_what_is_measured_before_the_first_step_is_shown_and_drawn(run_recipe, tiny_run, tmp_path):
    folder = tmp_path / "run"
    images_dir = next(word.partition("=")[2] for word in tiny_run if "data_dir" in word)
    words = (*tiny_run, "--epochs=1", f"--probe_dir={images_dir}", "--learning_rate=1e-20")
    words = (*words, "--measure_every=1", "--measure_images=8")
    outcome = run_recipe("pretrain", *words, f"--output_dir={folder}", "--json")
    assert outcome.status == 0, outcome.err
    before, after = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    assert (before["epoch"], before["step"], after["epoch"]) == (0, 0, 1)
    # At this rate no float32 weight moves.
    names = {name for name in before if name.startswith(("probe_", "measure_"))}
    assert {"probe_ridge", "probe_knn", "measure_rankme"} < names and len(names) == 14
    for name in names:
        assert before[name] == after[name] > 0
    ridge, knn = f"{before['probe_ridge']:.1%}", f"{before['probe_knn']:.1%}"
    assert f"\nprobes before    ridge {ridge}, kNN {knn}\n" in outcome.err
    assert f"\nrankme before    {before['measure_rankme']:.1f}\n" in outcome.err
    assert "measure_rankme" in outcome.err and "measure_participation" not in outcome.err
    curves = panels_of(read_metrics(folder / "metrics.jsonl"))
    assert curves["probes"]["probe_knn"][0] == [0, 1] and curves["loss"]["loss"][0] == [1]
    assert curves["effective rank"]["measure_rankme"][0] == [0, 1]


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("flag", "rate"), [("--base_learning_rate=0.32", 0.01), ("--learning_rate=0.04", 0.04)]
)
def test_the_base_learning_rate_is_for_256_images(
    run_recipe, tiny_run, tmp_path, images_dir, flag, rate
):
    words = [word for word in tiny_run if "learning_rate" not in word]
    outcome = run_recipe("pretrain", *words, f"--output_dir={tmp_path / 'run'}", "--dry_run", flag)
    assert f"learning rate {rate:.3g} " in outcome.err


def test_finetuning_starts_from_what_pretraining_left(run_recipe, pretrained, tmp_path, images_dir):
    finetuned = tmp_path / "finetuned"
    # A learning rate too small to move a float32 weight: the start is what is saved.
    outcome = run_recipe(
        "finetune",
        f"--weights={pretrained.folder}",
        f"--data_dir={images_dir}",
        f"--output_dir={finetuned}",
        "--epochs=1",
        "--batch_size=8",
        "--learning_rate=1e-20",
        "--json",
    )
    assert outcome.status == 0, outcome.err
    backbone = kc.from_preset(pretrained.folder / "model")
    classifier = kc.from_preset(finetuned / "model")
    for before, after in zip(
        backbone.get_weights(), classifier.backbone.get_weights(), strict=True
    ):
        np.testing.assert_allclose(after, before, atol=1e-12)
    assert classifier.num_classes == 3
    assert classifier.class_names == ("boot", "coat", "dress")
    assert 0 <= outcome.result["test_accuracy"] <= 1
    assert outcome.result["test_images"] == 9


def test_evaluate_repeats_what_finetuning_reported(run_recipe, tiny_run, tmp_path, images_dir):
    folder = tmp_path / "scratch"
    words = without_decoder(tiny_run)
    outcome = run_recipe(
        "finetune", *words, f"--output_dir={folder}", "--labels_per_class=4", "--json"
    )
    assert outcome.status == 0, outcome.err
    assert outcome.result["train_images"] == 12
    evaluated = run_recipe(
        "evaluate", f"--weights={folder}", f"--data_dir={images_dir}", "--batch_size=4", "--json"
    )
    assert evaluated.status == 0, evaluated.err
    assert evaluated.result["accuracy"] == outcome.result["test_accuracy"]
    # The batches differ, so the sums are rounded differently.
    np.testing.assert_allclose(evaluated.result["loss"], outcome.result["test_loss"], rtol=1e-5)


def test_evaluate_measures_a_pretraining_under_fixed_masks(run_recipe, pretrained, images_dir):
    checkpoint = pretrained.folder / "checkpoints"
    words = (f"--weights={checkpoint}", f"--data_dir={images_dir}")
    losses = [run_recipe("evaluate", *words, "--json").result["loss"] for _ in range(2)]
    assert losses[0] == losses[1]
    assert np.isfinite(losses[0])


@pytest.mark.one_backend
def test_half_precision_is_a_flag(run_recipe, tiny_run, tmp_path):
    folder = tmp_path / "run"
    words = (*tiny_run, f"--output_dir={folder}", "--precision=bfloat16", "--epochs=1", "--json")
    outcome = run_recipe("pretrain", *words)
    assert outcome.status == 0, outcome.err
    assert np.isfinite(outcome.result["loss"])
    backbone = kc.from_preset(folder / "model")
    assert backbone.dtype_policy.name == "mixed_bfloat16"


def test_float16_on_a_cpu_under_tensorflow_is_said_to_be_slow(capsys):
    from recipes import run_settings, training_run

    said = {}
    for precision in ("float16", "bfloat16", "float32"):
        training_run.announce(run_settings.Settings({"precision": precision}), training="2 epochs")
        said[precision] = capsys.readouterr().err
    if keras.backend.backend() == "tensorflow":
        (line,) = [line for line in said["float16"].splitlines() if "slower" in line]
        assert "float16" in line and "--precision=bfloat16" in line
    else:
        assert "slower" not in said["float16"]
    assert "slower" not in said["bfloat16"] + said["float32"]


@pytest.mark.one_backend
def test_by_default_a_folder_is_fine_tuned_at_one_rate_whatever_the_batch(
    run_recipe, tiny_run, tmp_path
):
    words = (*without_decoder(tiny_run), f"--output_dir={tmp_path / 'run'}", "--dry_run")
    said = [run_recipe("finetune", *words, f"--batch_size={size}").err for size in (4, 16)]
    assert all("learning rate 0.001 after" in text for text in said), said


@pytest.mark.one_backend
def test_a_dry_run_writes_nothing(run_recipe, tiny_run, tmp_path):
    folder = tmp_path / "run"
    outcome = run_recipe("pretrain", *tiny_run, f"--output_dir={folder}", "--dry_run")
    assert outcome.status == 0
    assert "2 epochs of 3 steps of 8 images" in outcome.err
    assert "taken at 16 x 24 pixels" in outcome.err
    assert not folder.exists()


def test_progress_says_images_a_second_and_time_left(pretrained):
    said = pretrained.outcome.err
    last = [line for line in said.splitlines() if line.startswith("pretraining")][-1]
    assert "epoch 2/2" in last
    assert "images/s" in last
    assert "0:00 left" in last
