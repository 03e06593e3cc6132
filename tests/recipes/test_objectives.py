"""What a pretraining predicts: the flags of each objective, and what a run of the other leaves."""

import json

import pytest

import keras_convnextv2 as kc
from keras_convnextv2.analysis.curves import panels_of, read_metrics
from recipes import run_folder
from tests.recipes.one_line import assert_one_line

pytestmark = pytest.mark.one_backend


@pytest.fixture
def latent_run(tiny_run):
    """Flags of a run of seconds, but for --output_dir."""
    return (*(word for word in tiny_run if "decoder" not in word), "--objective=latent")


def settings_but_folder(folder):
    lines = (folder / "settings.flags").read_text().splitlines()
    return [line for line in lines if not line.startswith("--output_dir=")]


def test_latent_prediction_leaves_a_backbone_to_fine_tune(run_recipe, latent_run, tmp_path):
    folder = tmp_path / "run"
    images_dir = next(word.partition("=")[2] for word in latent_run if "data_dir" in word)
    words = (*latent_run, "--encoder_path=dense", f"--probe_dir={images_dir}", "--measure_every=2")
    outcome = run_recipe("pretrain", *words, f"--output_dir={folder}", "--json")
    assert outcome.status == 0, outcome.err
    assert "parameters in the backbone, 888 in the predictor" in outcome.err
    # 6 updates, of which the average is to reach over less than one.
    assert "momentum 0 at first and 1 at the end" in outcome.err
    assert not (folder / "reconstructions.png").exists() and "pictures" not in outcome.result
    curves = panels_of(read_metrics(folder / "metrics.jsonl"))
    assert curves["teacher's deviation"]["teacher_deviation"][0] == [1, 2]
    assert curves["probes"]["probe_knn"][0] == [0, 1, 2] and curves["effective rank"]
    (config, _) = sorted(folder.glob("checkpoints/*/config.json"))
    config = json.loads(config.read_text())
    assert config["class_name"] == "LatentPrediction"
    assert (config["config"]["num_updates"], config["config"]["encoder_path"]) == (6, "dense")
    assert json.loads((folder / "run.json").read_text())["settings"]["decoder"] is None

    again = ("pretrain", f"--flagfile={folder / 'settings.flags'}", "--json")
    again = run_recipe(*again, f"--output_dir={tmp_path / 'again'}")
    assert again.status == 0, again.err
    assert again.result["loss"] == outcome.result["loss"]
    assert settings_but_folder(folder) == settings_but_folder(tmp_path / "again")

    assert kc.from_preset(folder).variant == kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
    words = [word for word in latent_run if "depths" not in word and "widths" not in word]
    words = [word for word in words if "objective" not in word and "stem" not in word]
    words += ["--dry_run", f"--output_dir={tmp_path / 'tuned'}"]
    tuned = run_recipe("finetune", *words, f"--weights={folder}")
    assert tuned.status == 0, tuned.err


def test_a_trial_of_latent_prediction(run_recipe, latent_run, tmp_path):
    words = (*latent_run, "--epochs=1000", "--dry_run", "--json")
    outcome = run_recipe("pretrain", *words, f"--output_dir={tmp_path / 'run'}")
    assert outcome.status == 0, outcome.err
    assert outcome.result["projected_steps"] == 3000 and outcome.result["loss"] > 0
    assert "momentum 0.996 at first" in outcome.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--objective=latent", "--decoder=unet", "--nonormalize_targets"],
            "--decoder, --normalize_targets are of --objective=fcmae. Received: latent",
        ),
        (["--objective=latent", "--decoder_width=8"], "--decoder_width is of --objective=fcmae"),
        (["--objective=latent", "--masking=sparse"], "--masking is of --objective=fcmae"),
        (["--objective=latent", "--decoder_depth=2"], "--decoder_depth is of --objective=fcmae"),
        (["--objective=latent", "--reconstruct_every=1"], "--reconstruct_every is of --objective="),
        (["--teacher_momentum=0.9"], "--teacher_momentum is of --objective=latent"),
        (["--objective=jepa"], "value should be one of <fcmae|latent>"),
        (["--objective=latent", "--teacher_momentum=1.1"], "teacher_momentum"),
    ],
)
def test_flags_of_another_objective_are_refused_by_name(words, said, run_recipe, tmp_path):
    outcome = run_recipe("pretrain", *words, f"--output_dir={tmp_path / 'run'}")
    assert_one_line(outcome, "pretrain", said)
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_that_was_begun_before_there_was_a_flag(run_recipe, tiny_run, tmp_path):
    words = ("pretrain", *tiny_run, "--epochs=1", f"--output_dir={tmp_path / 'run'}", "--json")
    first = run_recipe(*words)
    assert first.status == 0, first.err
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    for name in ("objective", "teacher_momentum"):
        del record["settings"][name]
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    again = run_recipe(*words)
    assert again.result == first.result and "is finished" in again.err, again.err
    assert (tmp_path / "run" / run_folder.RESULT).exists()
    others = [word for word in words if "decoder" not in word]
    assert_one_line(run_recipe(*others, "--objective=latent"), "pretrain", 'was "fcmae", is "lat')


def test_few_patches_are_said(run_recipe, tiny_run, pretrained, tmp_path):
    said = "few patches      an image has 6 patches, which leaves little to learn from"
    assert said in pretrained.outcome.err
    words = [word for word in tiny_run if "image_size" not in word]
    words += ["--image_size=32", "--dry_run", f"--output_dir={tmp_path / 'run'}"]
    assert "few patches" not in run_recipe("pretrain", *words).err
