"""What a user can mend is one line: what came and what to do; the exit status is not 0."""

import json

import keras
import numpy as np
import PIL.Image
import pytest

import keras_convnextv2 as kc
from tests.recipes.one_line import assert_one_line


@pytest.mark.one_backend
def test_help_lists_the_flags_and_the_commands(run_recipe):
    for name in ("pretrain", "finetune", "evaluate", "demo"):
        outcome = run_recipe(name, "--help")
        assert f"python -m recipes.{name}" in outcome.out
        assert "--output_dir" in outcome.out or name == "evaluate"


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["pretrain", "finetune", "evaluate", "demo"])
def test_unknown_flag(run_recipe, name):
    outcome = run_recipe(name, "--batch_sise=3")
    assert_one_line(outcome, name, "batch_sise", ". See --help.")


@pytest.mark.one_backend
def test_a_typo_in_the_variant_comes_before_what_is_wrong_with_the_images(run_recipe, tmp_path):
    words = (f"--output_dir={tmp_path / 'run'}", "--variant=attto", "--batch_size=1000000")
    outcome = run_recipe("pretrain", *words)
    assert_one_line(outcome, "pretrain", "atto, femto", "'attto'")


@pytest.mark.one_backend
def test_flags_that_are_required(run_recipe):
    outcome = run_recipe("predict")
    assert_one_line(outcome, "predict", "--model must be given. --images must be given. See --help")


@pytest.mark.one_backend
def test_a_word_that_is_no_flag(run_recipe, tmp_path):
    outcome = run_recipe("pretrain", f"--output_dir={tmp_path / 'run'}", "photographs")
    assert_one_line(outcome, "pretrain", "'photographs'", "--name=value")


@pytest.mark.one_backend
def test_missing_output_dir(run_recipe):
    assert_one_line(run_recipe("pretrain"), "pretrain", "--output_dir")


@pytest.mark.one_backend
def test_missing_data_folder(run_recipe, tmp_path):
    missing = tmp_path / "nowhere"
    outcome = run_recipe("pretrain", f"--output_dir={tmp_path / 'run'}", f"--data_dir={missing}")
    assert_one_line(outcome, "pretrain", str(missing), "does not exist")


@pytest.mark.one_backend
def test_empty_data_folder(run_recipe, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    outcome = run_recipe("pretrain", f"--output_dir={tmp_path / 'run'}", f"--data_dir={empty}")
    assert_one_line(outcome, "pretrain", str(empty), "no images")


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"these are words, not pixels", "cannot identify"),
        (b"", "the file is empty"),
    ],
)
def test_unreadable_image_is_named(run_recipe, tmp_path, content, problem):
    folder = tmp_path / "photographs"
    for name in ("boot", "coat"):
        (folder / "train" / name).mkdir(parents=True)
        for index in range(4):
            pixels = np.random.default_rng(index).integers(0, 256, (20, 30, 3), dtype="uint8")
            PIL.Image.fromarray(pixels).save(folder / "train" / name / f"{index}.png")
    broken = folder / "train" / "coat" / "2.png"
    broken.write_bytes(content)
    outcome = run_recipe(
        "pretrain",
        "--depths=1,1,1,1",
        "--widths=4,6,8,12",
        "--stem_stride=1",
        "--image_size=16x24",
        "--batch_size=4",
        "--epochs=1",
        f"--data_dir={folder}",
        f"--output_dir={tmp_path / 'run'}",
    )
    assert_one_line(outcome, "pretrain", str(broken), problem)


@pytest.mark.one_backend
def test_size_that_the_stride_does_not_divide(run_recipe, tiny_run, tmp_path):
    words = [*tiny_run, f"--output_dir={tmp_path / 'run'}", "--image_size=20x24"]
    outcome = run_recipe("pretrain", *words)
    assert_one_line(outcome, "pretrain", "(20, 24, 3)", "8 pixels", "16 x 24")
    assert not (tmp_path / "run").exists()


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("flag", "parts"),
    [
        ("--image_size=wide", ["'wide'", "HxW"]),
        ("--widths=4,6,8", ["widths", "(4, 6, 8)"]),
        ("--depths=1,1,x,1", ["--depths", "'1,1,x,1'"]),
        ("--variant=atto", ["--variant", "not both"]),
        ("--batch_size=100", ["24 images", "100", "smaller batch size"]),
        ("--mask_ratio=0.99", ["mask_ratio=0.99", "0 of 6 patches"]),
        ("--warmup_epochs=2", ["--warmup_epochs", "2 of 2"]),
        ("--learning_rate=-1", ["positive", "-1"]),
        ("--stem_stride=3", ["stem_stride", "3"]),
        (f"--epochs={'9' * 400}", ["--epochs", "less than 2**63"]),
    ],
)
def test_flags_that_cannot_be(run_recipe, tiny_run, tmp_path, flag, parts):
    outcome = run_recipe("pretrain", *tiny_run, f"--output_dir={tmp_path / 'run'}", flag)
    assert_one_line(outcome, "pretrain", *parts)


def save_backbone(path, widths=(4, 6, 8, 12)):
    backbone = kc.ConvNeXtV2Backbone(
        kc.Variant((1, 1, 1, 1), widths), image_shape=(16, 24, 3), stem_stride=1
    )
    backbone.save(path)
    return path


def finetune_words(images_dir, tmp_path):
    return (f"--data_dir={images_dir}", f"--output_dir={tmp_path / 'run'}", "--batch_size=8")


@pytest.mark.one_backend
def test_weights_of_another_variant(run_recipe, images_dir, tmp_path):
    weights = save_backbone(tmp_path / "other.keras")
    outcome = run_recipe(
        "finetune",
        *finetune_words(images_dir, tmp_path),
        f"--weights={weights}",
        "--depths=1,1,1,1",
        "--widths=8,8,8,8",
    )
    assert_one_line(outcome, "finetune", "widths 4,6,8,12", "widths 8,8,8,8")


@pytest.mark.one_backend
def test_missing_weights(run_recipe, images_dir, tmp_path):
    words = (*finetune_words(images_dir, tmp_path), f"--weights={tmp_path / 'nothing.keras'}")
    assert_one_line(run_recipe("finetune", *words), "finetune", "nothing.keras", "no file")


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("content", "problem"), [(b"", "is empty"), (b"not a model", "begins with b'not a mo'")]
)
def test_broken_weights(run_recipe, images_dir, tmp_path, content, problem):
    broken = tmp_path / "broken.keras"
    broken.write_bytes(content)
    words = (*finetune_words(images_dir, tmp_path), f"--weights={broken}")
    assert_one_line(run_recipe("finetune", *words), "finetune", str(broken), problem)


@pytest.mark.one_backend
def test_weights_that_are_another_kind_of_model(run_recipe, images_dir, tmp_path):
    path = tmp_path / "other.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(path)
    words = (*finetune_words(images_dir, tmp_path), f"--weights={path}")
    assert_one_line(run_recipe("finetune", *words), "finetune", "Sequential", "ConvNeXtV2Backbone")


@pytest.mark.one_backend
def test_more_labels_than_there_are(run_recipe, images_dir, tmp_path):
    words = (*finetune_words(images_dir, tmp_path), "--labels_per_class=9")
    assert_one_line(run_recipe("finetune", *words), "finetune", "'boot'", "7", "9")  # of 8 images


@pytest.mark.one_backend
def test_a_backbone_has_no_accuracy(run_recipe, images_dir, tmp_path):
    weights = save_backbone(tmp_path / "backbone.keras")
    words = (f"--weights={weights}", f"--data_dir={images_dir}")
    assert_one_line(run_recipe("evaluate", *words), "evaluate", "backbone", "recipes.finetune")


@pytest.mark.one_backend
def test_a_classifier_of_other_classes(run_recipe, images_dir, tmp_path):
    path = tmp_path / "classifier.keras"
    backbone = kc.ConvNeXtV2Backbone(
        kc.Variant((1, 1, 1, 1), (4, 6, 8, 12)), image_shape=(16, 24, 3), stem_stride=1
    )
    kc.ConvNeXtV2Classifier(backbone, num_classes=5).save(path)
    words = (f"--weights={path}", f"--data_dir={images_dir}")
    assert_one_line(run_recipe("evaluate", *words), "evaluate", "5 classes", "3")


@pytest.mark.one_backend
@pytest.mark.parametrize("recipe", ["evaluate", "linear_probe"])
def test_a_model_of_colours_is_not_measured_on_the_embedded_grey_images(
    run_recipe, pretrained, recipe
):
    checkpoint = pretrained.folder / "checkpoints"
    outcome = run_recipe(recipe, f"--weights={checkpoint}")
    assert_one_line(outcome, recipe, "of 3 channels", "these have 1", "fashion_mnist", "--data_dir")


@pytest.mark.one_backend
def test_a_model_of_colours_is_not_measured_on_a_grey_folder(run_recipe, pretrained, images_dir):
    for split in ("train", "test"):
        with np.load(images_dir / f"{split}.npz") as arrays:
            grey = {**arrays, "images": arrays["images"][..., :1]}
        grey |= {"mean": grey["mean"][:1], "std": grey["std"][:1]}
        np.savez(images_dir / f"{split}.npz", **grey)
    words = (
        f"--weights={pretrained.folder / 'checkpoints'}",
        f"--data_dir={images_dir}",
    )
    outcome = run_recipe("evaluate", *words)
    assert_one_line(outcome, "evaluate", "of 3 channels", "these have 1", "test.npz")
    assert "Give --data_dir" not in outcome.err


@pytest.mark.one_backend
@pytest.mark.parametrize("recipe", ["pretrain", "finetune"])
def test_a_loss_that_is_not_finite_stops_the_run_before_anything_is_saved(
    run_recipe, tiny_run, tmp_path, recipe
):
    folder = tmp_path / "run"
    words = [word for word in tiny_run if recipe == "pretrain" or "decoder" not in word]
    words += [f"--output_dir={folder}", "--learning_rate=1e30", "--epochs=40", "--warmup_epochs=0"]
    outcome = run_recipe(recipe, *words)
    assert_one_line(outcome, recipe, "loss is", "step", "e+", "lower learning rate")
    left = {"settings.flags", "run.json", "run.lock", "board", "non_finite_loss.json"}
    left |= {"checkpoints", *(["reconstructions"] if recipe == "pretrain" else [])}
    assert {path.name for path in folder.iterdir()} == left
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["training.lock"]
    told = json.loads((folder / "non_finite_loss.json").read_text())
    assert told["epoch"] == 1 and told["error"] in outcome.err
    # All steps since the last look, in their order: each takes images once.
    batches = told["batches"]
    assert [batch["batch"] for batch in batches] == list(range(1, len(batches) + 1))
    images = [name for batch in batches for name in batch["images"]]
    assert len(set(images)) == len(images) == 8 * len(batches)
    assert set(images) <= {f"image {place}" for place in range(24)}


@pytest.mark.one_backend
def test_the_demo_replaces_no_folder_but_its_own(run_recipe, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    outcome = run_recipe("demo", f"--output_dir={tmp_path}")
    assert_one_line(outcome, "demo", str(tmp_path), "another folder")
    assert (tmp_path / "thesis.txt").read_text() == "precious"
