import json
import os
import shutil
import sys

import numpy as np
import pytest

from recipes import probe_table
from tests.recipes.one_line import assert_one_line

pytestmark = pytest.mark.one_backend  # the features of each backend: tests/analysis

MODEL = ("--depths=1,1,1,1", "--widths=4,6,8,12", "--stem_stride=1", "--image_size=16x24")
SHORT = ("--shots=1,3", "--lars_epochs=9", "--batch_size=8")


def test_four_probes_of_random_weights_with_their_settings(run_recipe, shared_images_dir):
    outcome = run_recipe("linear_probe", *MODEL, *SHORT, f"--data_dir={shared_images_dir}")
    assert outcome.status == 0, outcome.err
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(outcome.out.split())
    for words in (
        "weights random, seed 0",
        "features 12, global average pool of the last stage, LayerNorm of scale 1 and shift 0",
        "ridge, 1 shot",
        "ridge, 3 shots",
        "lambda 1024, bias constant 100, mean ± std of 3 seeds, features standardised",
        "k 20, temperature 0.07, cosine, 24 training images",
        "of 12 from 1e-06 to 1e+05 chosen on 10% of train, seed 0",
        "LARS, 9 epochs, warm-up 1, 9 steps, batch 24, base rate 0.1",
    ):
        assert words.replace(",", "") in text.replace(",", ""), words


def test_what_a_run_left_is_measured_and_its_features_are_kept(
    run_recipe, finetuned, shared_images_dir, tmp_path
):
    words = (
        f"--weights={finetuned.folder}",
        f"--data_dir={shared_images_dir}",
        f"--feature_cache={tmp_path / 'cache'}",
        "--probes=knn,ridge",
        "--json",
        *SHORT,
        *MODEL,  # what the weights are, too
    )
    first, second = (run_recipe("linear_probe", *words) for _ in range(2))
    assert first.status == 0, first.err
    said = [line.rpartition(",")[0] or line for line in first.err.splitlines()]
    assert said == [
        f"{what}: {words}"
        for what, done in (
            ("features of 24 train images", "computed"),
            ("features of 9 test images", "computed"),
            ("probe knn of 24 train images", "measured"),
            ("probe ridge of 24 train images", "measured"),
        )
        for words in ("begun", done)
    ]
    assert "24 train images: read from the cache" in second.err
    assert first.result == second.result
    assert len(os.listdir(tmp_path / "cache")) == 2
    knn, ridge = first.result["probes"]
    assert (knn["probe"], ridge["probe"]) == ("knn", "ridge")
    assert knn["settings"]["k"] == 20 and knn["settings"]["train_images"] == 24
    by_seed = ridge["by_seed"]["3 shots"]
    assert len(by_seed) == 3 and ridge["accuracy"]["3 shots"] == pytest.approx(np.mean(by_seed))
    assert "LayerNorm of the classifier" in first.result["features"]
    pooled = run_recipe("linear_probe", *words, "--nohead_norm").result
    assert "LayerNorm" not in pooled["features"]


def test_images_are_framed_as_the_run_framed_them(
    run_recipe, pretrained, shared_images_dir, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(pretrained.folder / "model", run / "model")
    words = (f"--weights={run}", f"--data_dir={shared_images_dir}", "--probes=ridge", "--json")
    words = ("linear_probe", *words, "--feature_cache=", *SHORT)
    wanted, not_cropped = (
        run_recipe(*words, f"--evaluation_crop={crop}").result["probes"] for crop in (0.5, 0)
    )
    (run / "settings.flags").write_text("--evaluation_crop=0.5\n")
    outcome = run_recipe(*words)
    assert f"evaluation crop  0.5, as in the run of {run}" in outcome.err
    assert outcome.result["probes"] == wanted != not_cropped


def test_features_are_kept_beside_the_weights(run_recipe, pretrained, images_dir, tmp_path):
    weights = tmp_path / "run"
    shutil.copytree(pretrained.folder / "model", weights / "model")
    words = (f"--weights={weights}", f"--data_dir={images_dir}", "--probes=knn")
    assert run_recipe("linear_probe", *words, "--feature_cache=").status == 0
    assert not (weights / "features").exists()
    assert run_recipe("linear_probe", *words).status == 0
    assert len(os.listdir(weights / "features")) == 2


def test_c_is_chosen_on_validation_images_where_there_are_some(run_recipe, images_dir):
    words = (*MODEL, f"--data_dir={images_dir}", "--probes=logistic", "--json")
    chosen_on = []
    for has_validation in (False, True):
        if has_validation:
            (images_dir / "validation.npz").write_bytes((images_dir / "train.npz").read_bytes())
        (probe,) = run_recipe("linear_probe", *words).result["probes"]
        chosen_on.append((probe["settings"]["chosen_on"], probe["settings"]["fitted_on"]))
    assert chosen_on == [("10% of train, seed 0", 24), ("validation images", 48)]
    (images_dir / "validation.npz").write_bytes(b"damaged")
    assert_one_line(run_recipe("linear_probe", *words), "linear_probe", "validation.npz cannot be")


@pytest.mark.parametrize(
    "flag", ["--variant=base", "--widths=4,6,8,16", "--stem_stride=4", "--response=none"]
)
def test_a_flag_of_another_model_than_that_of_the_weights(
    run_recipe, finetuned, shared_images_dir, flag
):
    words = (f"--weights={finetuned.folder}", f"--data_dir={shared_images_dir}", flag)
    name = flag.partition("=")[0]
    assert_one_line(
        run_recipe("linear_probe", *words), "linear_probe", name, "not that of --weights"
    )


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--probes=knn,forest", "'knn,forest'"),
        ("--shots=1,some", "'1,some'"),
        ("--shots=0", "'0'"),
        ("--lars_base_learning_rate=x", "lars_base_learning_rate"),
    ],
)
def test_flags_that_are_refused(run_recipe, shared_images_dir, flag, said):
    outcome = run_recipe("linear_probe", *MODEL, f"--data_dir={shared_images_dir}", flag)
    assert_one_line(outcome, "linear_probe", said)


def test_without_scikit_learn_the_other_probes_run(run_recipe, shared_images_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)  # as where it is not installed
    words = (*MODEL, f"--data_dir={shared_images_dir}")
    outcome = run_recipe("linear_probe", *words)
    assert_one_line(outcome, "linear_probe", "sklearn", "[probe]")
    assert run_recipe("linear_probe", *words, *SHORT, "--probes=ridge,knn,lars").status == 0


def test_images_without_labels_are_refused(run_recipe, images_dir):
    for split in ("train", "test"):
        with np.load(images_dir / f"{split}.npz") as arrays:
            kept = {name: arrays[name] for name in ("images", "mean", "std")}
        np.savez(images_dir / f"{split}.npz", **kept)
    outcome = run_recipe("linear_probe", *MODEL, f"--data_dir={images_dir}")
    assert_one_line(outcome, "linear_probe", "needs images with one label")


def test_every_setting_of_the_json_can_be_read_again(run_recipe, shared_images_dir):
    outcome = run_recipe(
        "linear_probe", *MODEL, *SHORT, f"--data_dir={shared_images_dir}", "--json"
    )
    (line,) = outcome.out.splitlines()
    probes = json.loads(line)["probes"]
    assert [probe["probe"] for probe in probes] == ["logistic", "ridge", "knn", "lars"]
    assert probes[0]["settings"]["C"] in probes[0]["settings"]["values_of_C"]
    # What the table leaves out is told elsewhere in it.
    for probe in probes:
        assert set(probe["settings"]) - set(probe_table._WORDS) <= {"test_images"}
