"""Flags that name a part of the model: the response, the layer scale, the decoder, the masking."""

import json

import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.weights.model_weights import named_weights
from tests.recipes.one_line import assert_one_line
from tests.reference.random_weights import randomize

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


@pytest.mark.parametrize(
    ("before", "words", "said"),
    [
        # Four of the stem, four blocks of eight, three downsamplings of four; gamma and beta of
        # GRN in each block are dropped.
        (kc.BlockSpec(), ["--response=none"], "48 weights are taken over, 8 left out, 0 begin"),
        # Added to the first version, whose layer scale stays: four more are shared.
        (kc.BlockSpec("none", 0.5), ["--response=grn"], "52 weights are taken over, 0 left out, 8"),
        (kc.BlockSpec("grn"), ["--response=ln"], "48 weights are taken over, 8 left out, 8 begin"),
        (kc.BlockSpec(), [], ""),
    ],
)
def test_fine_tuning_with_other_blocks_takes_over_what_both_have(
    run_recipe, tiny_run, tmp_path, before, words, said
):
    sizes = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12), block=before)
    pretrained = kc.ConvNeXtV2Backbone(sizes, (16, 24, 3), stem_stride=1)
    randomize(pretrained, np.random.default_rng(0))
    kc.save_weights(pretrained, tmp_path / "weights.safetensors")
    words = [
        *(word for word in tiny_run if word[2:8] not in ("depths", "widths", "decode")),
        *("--epochs=1", "--learning_rate=1e-20", "--allow_other_blocks", *words),
        f"--weights={tmp_path / 'weights.safetensors'}",
        f"--output_dir={tmp_path / 'tuned'}",
    ]
    outcome = run_recipe("finetune", *words)
    assert outcome.status == 0, outcome.err
    assert said in outcome.err and ("taken over" in outcome.err) == bool(said)
    tuned = named_weights(kc.from_preset(tmp_path / "tuned" / "model").backbone)
    given = named_weights(pretrained)
    for name, weight in tuned.items():
        if name in given and ("response_norm" not in name or not said):
            expected = given[name].numpy()
        else:  # as such a layer begins: LayerNorm's gamma 1, GRN's 0
            begins = float("gamma" in name and "--response=ln" in words)
            expected = np.full(weight.shape, begins)
        # The rate is too small to move a float32 weight.
        np.testing.assert_allclose(weight.numpy(), expected, atol=1e-12, err_msg=name)
