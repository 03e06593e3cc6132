"""What fine-tuning offers beside epochs and a rate, on tiny random images."""

import json

import keras
import numpy as np
import PIL.Image
import pytest

import keras_convnextv2 as kc
from keras_convnextv2 import analysis
from recipes import doubtful_settings
from recipes.run_settings import Settings
from tests.recipes.one_line import assert_one_line

SMALL = (
    *("--depths=1,1,1,1", "--widths=4,6,8,12", "--stem_stride=1", "--image_size=16"),
    *("--batch_size=4", "--learning_rate=0.01"),
)


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def finetune(run_recipe, shared_images_dir, tmp_path):
    """Runs recipes.finetune: the folder, what it left, and what it printed."""

    def run(*words, data_dir=shared_images_dir):
        folder = tmp_path / "run"
        outcome = run_recipe(
            "finetune", *SMALL, f"--data_dir={data_dir}", f"--output_dir={folder}", *words, "--json"
        )
        assert outcome.status == 0, outcome.err
        return folder, kc.from_preset(folder / "model"), outcome

    return run


@pytest.mark.one_backend
def test_everything_at_once_and_the_best_epoch_is_kept(finetune, monkeypatch):
    fitted = []  # 6 images say too little: of them the fit would give 1
    monkeypatch.setattr(analysis, "fit_temperature", lambda *pair: fitted.append(pair) or 2.5)
    folder, classifier, outcome = finetune(
        *("--epochs=3", "--freeze_epochs=1", "--validation_fraction=0.25", "--mixup=0.5"),
        *("--cutmix=0.5", "--randaugment=rand-m3-inc1", "--erase_probability=0.5"),
        *("--ema_momentum=0.5", "--layer_decay=0.8", "--accumulation_steps=2", "--clip_norm=1"),
        *("--drop_path_rate=0.1", "--monitor=negative_log_likelihood", "--sampling=balanced"),
    )
    assert "\nema " not in outcome.err and "\nfreeze epochs " in outcome.err
    lines = lines_of(folder)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    # 18 images are left of 24: 4 steps an epoch, 2 of them an update; counted over both phases.
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    assert all(np.isfinite(line["loss"]) for line in lines)
    # The saved model is that of the best epoch, with the temperature that fits the same images.
    assert classifier.temperature == 2.5
    best = min(line["val_negative_log_likelihood"] for line in lines)
    assert "epochs_trained" not in outcome.result
    best_line = lines[outcome.result["best_epoch"] - 1]
    assert best_line["val_negative_log_likelihood"] == best
    source = kc.data.open_source(outcome_data(folder), "train").split(0.25, 0)[1]
    images = kc.preprocess(source.read(range(len(source)), (16, 16)), source.mean, source.std)
    classifier.temperature = 1.0
    logits = classifier.predict(images, verbose=0)
    ((fitted_logits, fitted_labels),) = fitted
    # float32 through the network, in other batches
    np.testing.assert_allclose(fitted_logits, logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(fitted_labels, source.labels)
    found = analysis.classification_summary(classifier.probabilities(logits), source.labels)
    np.testing.assert_allclose(found["negative_log_likelihood"], best, rtol=1e-4)
    assert {path.name for path in (folder / "test").iterdir()} == {
        *("confusion.png", "per_class.csv", "reliability.png", "report.json", "worst.png")
    }
    assert (folder / "curves.png").exists() and list((folder / "board").iterdir())


def outcome_data(folder):
    words = (folder / "settings.flags").read_text().splitlines()
    return next(word.partition("=")[2] for word in words if word.startswith("--data_dir="))


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("part", "learns"), [("head", ()), ("last_stage", ("stage3",)), ("all", ("stage", "stem"))]
)
def test_what_does_not_learn_stays_as_it_was(finetune, tmp_path, part, learns):
    sizes = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
    before = kc.ConvNeXtV2Backbone(sizes, (16, 16, 3), stem_stride=1, seed=5)
    before.save(tmp_path / "weights.keras")
    words = (f"--weights={tmp_path / 'weights.keras'}", f"--trainable={part}", "--epochs=1")
    _, classifier, _ = finetune(*words)
    for weight, old in zip(classifier.backbone.weights, before.get_weights(), strict=True):
        moved = not np.array_equal(keras.ops.convert_to_numpy(weight.value), old)
        assert moved == weight.path.startswith(learns), weight.path


@pytest.mark.one_backend
def test_a_head_that_learns_alone_is_not_averaged(finetune):
    """Averages by .9999 hardly change from one epoch of 4 updates to the next."""
    words = ("--epochs=1", "--ema_momentum=0.9999", "--validation_fraction=0.25")
    folder, _, _ = finetune(*words, "--freeze_epochs=2", "--learning_rate=0.3")
    first, second, _ = (line["val_negative_log_likelihood"] for line in lines_of(folder))
    assert abs(second - first) > 0.1  # averages: about 4 updates / 10,000 of the change


def remarks(steps_per_epoch, class_weight=None, **values):
    """What is said at the start of a run of 10 epochs."""
    usual = {"weights": "a file", "freeze_epochs": 0, "ema_momentum": 0.0, "epochs": 10}
    settings = Settings({**usual, "warmup_epochs": 1.0, "accumulation_steps": 1, **values})
    return doubtful_settings.remarks(settings, steps_per_epoch, class_weight)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("momentum", "steps", "reach", "share", "suited"),
    [
        (0.9999, 75, "10,000", "93%", 0.99),  # .9999 ** 750 = .9277; 10 / 750 = .01
        (0.99, 29, "100", "5%", 0.97),  # .99 ** 290 = .0542; 10 / 290 = .03
        (0.9, 1, "10", "35%", 0),  # .9 ** 10 = .3487; of 10 updates there is no tenth
        (1.0, 75, "all", "100%", 0.99),
    ],
)
def test_an_average_over_more_than_the_run_is_said(momentum, steps, reach, share, suited):
    said = remarks(steps, ema_momentum=momentum)["ema"]
    assert f"about {reach} updates, and there are {10 * steps}: {share} of" in said
    assert f"--ema_momentum={suited:g} suits" in said
    assert ("no average" in said) == (suited == 0)
    # What is proposed is not found fault with.
    assert remarks(steps, ema_momentum=suited) == {}


@pytest.mark.one_backend
def test_an_average_over_a_third_of_the_run_or_less_is_not():
    assert remarks(31, ema_momentum=0.99) == {} == remarks(1, ema_momentum=0.0)
    assert remarks(31, ema_momentum=0.99, accumulation_steps=2) != {}  # of half as many updates


@pytest.mark.one_backend
def test_class_weights_of_more_than_ten_to_one_are_said():
    assert remarks(10, {0: 10.0, 1: 1.0}) == {}
    said = remarks(10, {0: 0.25, 1: 9.5})["class_weights"]
    assert "counts 38 times as much" in said and "--sampling=balanced" in said


@pytest.mark.one_backend
def test_random_weights_that_do_not_learn_are_said_or_refused(
    run_recipe, shared_images_dir, tmp_path
):
    assert remarks(31, freeze_epochs=2) == {}
    assert remarks(31, freeze_epochs=2, weights="")["freeze_epochs"].startswith("2 in which")
    words = (f"--data_dir={shared_images_dir}", f"--output_dir={tmp_path / 'run'}")
    for part in ("head", "last_stage"):
        outcome = run_recipe("finetune", *SMALL, *words, f"--trainable={part}")
        assert_one_line(outcome, "finetune", f"--trainable={part}", "--weights", "random")


@pytest.mark.one_backend
def test_training_stops_when_it_no_longer_gets_better(finetune):
    folder, _, outcome = finetune(
        "--epochs=9", "--early_stopping_epochs=2", "--learning_rate=1e-20"
    )
    assert len(lines_of(folder)) == 3  # the first is the best of equals
    assert outcome.result["best_epoch"] == 1
    assert (outcome.result["epochs_trained"], outcome.result["epochs"]) == (3, 9)


@pytest.mark.one_backend
def test_classes_count_as_they_are_told_to(finetune, run_recipe, shared_images_dir, tmp_path):
    losses = []
    for weights in ("none", "boot=1,coat=1,dress=1", "boot=2,coat=2,dress=2"):
        folder, _, _ = finetune("--epochs=1", f"--class_weights={weights}", "--learning_rate=1e-20")
        losses.append(lines_of(folder)[0]["loss"])
        folder.rename(tmp_path / f"run{len(losses)}")
    np.testing.assert_allclose(losses, [losses[0], losses[0], 2 * losses[0]], rtol=1e-5)
    outcome = run_recipe(
        "finetune",
        f"--data_dir={shared_images_dir}",
        f"--output_dir={tmp_path / 'other'}",
        "--class_weights=boots",
        "--batch_size=4",
    )
    assert outcome.status == 2 and "NAME=NUMBER" in outcome.err


@pytest.mark.one_backend
def test_images_of_several_labels(finetune, run_recipe, tmp_path):
    draw = np.random.default_rng(0)
    rows = ["path,label,split"]
    for number in range(24):
        labels = [name for name in ("dark", "wet") if draw.random() < 0.5]
        pixels = draw.integers(0, 256, (20, 16, 3), "uint8") // (3 if "dark" in labels else 1)
        PIL.Image.fromarray(pixels.astype("uint8")).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{';'.join(labels)},{'test' if number % 4 == 0 else 'train'}")
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    folder, classifier, outcome = finetune(
        "--epochs=2", "--validation_fraction=0.3", data_dir=tmp_path / "table.csv"
    )
    assert classifier.multi_label and classifier.class_names == ("dark", "wet")
    assert {"test_mean_average_precision", "test_micro_f1"} <= set(outcome.result)
    assert all("val_mean_average_precision" in line for line in lines_of(folder))
    assert not any("accuracy" in name for line in lines_of(folder) for name in line)

    words = (f"--weights={folder}", f"--data_dir={tmp_path / 'table.csv'}", "--trial_images=2")
    exported = run_recipe("export", *words, f"--output={tmp_path / 'm.onnx'}", "--json")
    assert exported.status == 0, exported.err
    assert exported.result["accuracy"] is None and "several labels each" in exported.err


@pytest.mark.one_backend
@pytest.mark.parametrize("other", ["--mixup=0.2", "--cutmix=1", "--sampling=balanced"])
def test_class_weights_stand_alone(run_recipe, shared_images_dir, tmp_path, other):
    outcome = run_recipe(
        "finetune",
        *SMALL,
        f"--data_dir={shared_images_dir}",
        f"--output_dir={tmp_path / 'run'}",
        *("--class_weights=balanced", other),
    )
    assert outcome.status == 2
    assert "--class_weights" in outcome.err.splitlines()[-1]
    assert other.partition("=")[0] in outcome.err.splitlines()[-1]


@pytest.mark.one_backend
def test_what_needs_validation_images_says_so(run_recipe, shared_images_dir, tmp_path):
    outcome = run_recipe(
        "finetune",
        *SMALL,
        f"--data_dir={shared_images_dir}",
        f"--output_dir={tmp_path / 'run'}",
        "--validation_fraction=0",
        "--early_stopping_epochs=3",
    )
    assert outcome.status == 2
    assert "--validation_fraction" in outcome.err.splitlines()[-1]


@pytest.fixture
def torn_photographs(tmp_path):
    """Class folders of three splits, each with a picture that cannot be read: their names."""
    draw, torn = np.random.default_rng(0), []
    for split, count in (("train", 8), ("validation", 3), ("test", 3)):
        for name in ("ant", "bee"):
            folder = tmp_path / "photographs" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = PIL.Image.fromarray(draw.integers(0, 256, (20, 16, 3), "uint8"))
                pixels.save(folder / f"{number}.png")
        torn.append(folder / "0.png")
        torn[-1].write_bytes(torn[-1].read_bytes()[:60])
    return tmp_path / "photographs", [str(path) for path in torn]


@pytest.mark.one_backend
@pytest.mark.parametrize("checked", [False, True])
def test_images_that_cannot_be_read_are_named_and_passed_over(finetune, torn_photographs, checked):
    data_dir, torn = torn_photographs
    words = ["--epochs=1", "--max_bad_images=3", *(["--check_images"] if checked else [])]
    _, _, outcome = finetune(*words, data_dir=data_dir)
    assert all(outcome.err.count(name) == 1 for name in torn), outcome.err
    assert outcome.result["test_images"] == 5  # none is measured twice
    assert outcome.result["train_images"] == (15 if checked else 16)


@pytest.mark.one_backend
def test_images_that_cannot_be_read_are_neither_drawn_nor_measured(
    run_recipe, torn_photographs, tmp_path
):
    data_dir, torn = torn_photographs
    words = ("--epochs=1", "--max_bad_images=3", "--measure_every=1", f"--probe_dir={data_dir}")
    outcome = run_recipe(
        "pretrain", *SMALL, f"--data_dir={data_dir}", f"--output_dir={tmp_path / 'run'}", *words
    )
    assert outcome.status == 0, outcome.err
    assert outcome.err.count(f"passed over, since it cannot be read: {torn[-1]}") == 1


@pytest.mark.one_backend
def test_a_training_without_an_update_is_refused(run_recipe, shared_images_dir, tmp_path):
    words = (*SMALL, f"--data_dir={shared_images_dir}", f"--output_dir={tmp_path / 'run'}")
    outcome = run_recipe("finetune", *words, "--epochs=2", "--accumulation_steps=1000")
    assert outcome.status == 2
    assert "--accumulation_steps=1000 is more than the" in outcome.err.splitlines()[-1]
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.one_backend
def test_all_images_that_cannot_be_read_are_named_before_training(
    run_recipe, torn_photographs, tmp_path
):
    data_dir, torn = torn_photographs
    outcome = run_recipe(
        "finetune",
        *SMALL,
        f"--data_dir={data_dir}",
        f"--output_dir={tmp_path / 'run'}",
        *("--check_images", "--max_bad_images=2"),
    )
    assert outcome.status == 2
    assert all(name in outcome.err.splitlines()[-1] for name in torn)
    assert not (tmp_path / "run").exists()


@pytest.mark.one_backend
def test_changes_of_colour_are_left_out_of_other_channels(run_recipe, tmp_path):
    outcome = run_recipe(
        "finetune",
        f"--output_dir={tmp_path / 'run'}",
        *("--labels_per_class=2", "--epochs=1", "--dry_run", "--randaugment=rand-m9-mstd0.5-inc1"),
        "--color_jitter=0.4",
    )
    assert outcome.status == 0, outcome.err
    assert "changes of colour are left out of 1 channel" in outcome.err


@pytest.mark.one_backend
def test_evaluation_sees_what_the_run_saw(finetune, run_recipe, shared_images_dir, images_dir):
    folder, _, outcome = finetune(
        "--epochs=2", "--evaluation_crop=0.5", "--validation_fraction=0.25", "--seed=3"
    )
    words = (f"--weights={folder}", f"--data_dir={shared_images_dir}", "--json")
    again = run_recipe("evaluate", *words)
    assert "evaluation crop  0.5, as in the run" in again.err
    np.testing.assert_allclose(again.result["loss"], outcome.result["test_loss"], rtol=1e-5)
    other = run_recipe("evaluate", *words, "--evaluation_crop=0")
    assert abs(other.result["loss"] - again.result["loss"]) > 1e-5
    # The images that the run held out, and no others: the figures of its last epoch.
    held_out = run_recipe("evaluate", *words, "--split=validation")
    assert "--validation_fraction=0.25 by --seed=3" in held_out.err
    assert "may be other images" not in held_out.err
    assert held_out.result["images"] == 6
    measured = lines_of(folder)[-1]["val_negative_log_likelihood"]  # before the temperature
    np.testing.assert_allclose(held_out.result["loss"], measured, rtol=1e-5)
    elsewhere = run_recipe("evaluate", *words, "--split=validation", f"--data_dir={images_dir}")
    assert f"that run read {shared_images_dir}: these may be other images" in elsewhere.err


@pytest.mark.one_backend
def test_validation_images_that_cannot_be_used_are_not_passed_over(
    run_recipe, images_dir, tmp_path
):
    with np.load(images_dir / "test.npz") as arrays:
        changed = {**arrays, "class_names": np.array(["boot", "coat", "hat"])}
    np.savez(images_dir / "validation.npz", **changed)
    words = (*SMALL, f"--data_dir={images_dir}", f"--output_dir={tmp_path / 'run'}", "--epochs=1")
    outcome = run_recipe("finetune", *words)
    assert_one_line(outcome, "finetune", "validation.npz", "differ in `class_names`")


@pytest.mark.one_backend
def test_layers_below_do_not_learn_faster(run_recipe, tmp_path):
    outcome = run_recipe("finetune", f"--output_dir={tmp_path / 'run'}", "--layer_decay=1.5")
    assert outcome.status == 2
    assert "--layer_decay=1.5" in outcome.err and "[0, 1]" in outcome.err
    assert not (tmp_path / "run").exists()
