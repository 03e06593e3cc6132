"""Flags that name a part of the model: the response, the layer scale, the decoder, the masking."""

import json

import pytest

import keras_convnextv2 as kc
from tests.recipes.one_line import assert_one_line

pytestmark = pytest.mark.one_backend


def test_a_run_has_the_parts_that_its_flags_name(run_recipe, tiny_run, tmp_path):
    folder = tmp_path / "run"
    words = (
        *(word for word in tiny_run if not word.startswith("--epochs")),
        "--epochs=1",
        f"--output_dir={folder}",
        "--response=se",
        "--layer_scale=0.5",
        "--decoder=unet_without_skips",
        "--masking=input",
        "--encoder_path=dense",
    )
    outcome = run_recipe("pretrain", *words)
    assert outcome.status == 0, outcome.err
    block = kc.from_preset(folder).variant.block
    assert block == kc.BlockSpec("se", layer_scale=0.5)
    flags = (folder / "settings.flags").read_text()
    for word in words[-4:]:
        assert word.lstrip("-") in flags
    (config,) = folder.glob("checkpoints/*/config.json")
    config = json.loads(config.read_text())["config"]
    assert (config["decoder"], config["masking"]) == ("unet_without_skips", "input")

    # A fine-tuning has the blocks of its weights, and says it where flags ask for others.
    words = [word for word in words[:-5] if not word.startswith(("--decoder", "--output_dir"))]
    words += [f"--weights={folder}", f"--output_dir={tmp_path / 'tuned'}"]
    outcome = run_recipe("finetune", *words, "--epochs=1", "--dry_run")
    assert outcome.status == 0, outcome.err
    outcome = run_recipe("finetune", *words, "--response=ln")
    assert_one_line(outcome, "finetune", "the response 'se' and a layer scale", "'ln'")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--response=gnr"], "--response is one of grn, none, lrn"),
        (["--decoder=u-net"], "`decoder` must be one of block, unet"),
        (["--masking=input"], "give encoder_path='dense'"),
    ],
)
def test_what_there_is_not_is_refused(words, message, run_recipe, tiny_run, tmp_path):
    outcome = run_recipe("pretrain", *tiny_run, f"--output_dir={tmp_path / 'run'}", *words)
    assert outcome.status != 0 and message in outcome.err
