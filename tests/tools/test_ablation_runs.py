"""Which runs the experiments are made of."""

import importlib

import pytest

from tests.conftest import forget_programs
from tools.ablation_experiments import GROUPS
from tools.ablation_runs import Plan, in_order

pytestmark = pytest.mark.one_backend

SETTINGS = {
    "data_dir": "",
    "variant": None,
    "depths": ["1", "1", "1", "1"],
    "widths": ["16", "24", "32", "48"],
    "image_size": "64",
    "stem_stride": 2,
    "pretrain_epochs": 4,
    "finetune_epochs": 3,
    "labels_per_class": 4,
    "precision": "float32",
    "pretrain_cost": 0.5,
    "pretrain_flags": [],
    "finetune_flags": [],
    "num_images": 300,
    "num_labelled": 40,
}
PLAN = Plan(SETTINGS)


def all_runs(seeds=3, other_seeds=1):
    return in_order(GROUPS, seeds, other_seeds, PLAN)


def test_equal_runs_are_one_and_others_have_other_names():
    runs = all_runs()
    assert len({run.name for run in runs}) == len(runs)
    assert len({(run.recipe, run.words, run.weights) for run in runs}) == len(runs)
    for place, run in enumerate(runs):
        assert run.weights is None or run.weights in runs[:place]
    # By hand, for three seeds: V1 and V2 from scratch and at equal cost; V1 and V2 pretrained, each
    # also with the other at fine-tuning; naive; both hierarchical.
    headline = in_order([group for group in GROUPS if group.headline], 3, 1, PLAN)
    assert len(headline) == 3 * (3 + (2 + 4) + 2 + 4)
    codesign = next(group for group in GROUPS if group.name == "codesign")
    neither = next(group for group in GROUPS if group.name == "grn_in_finetuning")
    v1 = PLAN.run_of(codesign["V1 FCMAE"], 0)
    assert v1 == PLAN.run_of(neither["in neither (V1)"], 0)
    # GRN is what the blocks have without a flag: one setting, one run.
    aggregation = next(group for group in GROUPS if group.name == "grn_aggregation")
    assert PLAN.run_of(aggregation["grn"], 0) == PLAN.run_of(codesign["V2 FCMAE"], 0)
    added = PLAN.run_of(neither["added at fine-tuning"], 0)
    assert added != v1 and added.weights == v1.weights


def test_supervised_at_equal_cost_has_as_many_epochs_as_both_together():
    # 3 epochs of fine-tuning, and 4 epochs * 300 images * 0.5 of their cost / 40 labelled images.
    assert PLAN.equal_cost_epochs() == 3 + 15
    group = next(group for group in GROUPS if group.name == "equal_cost")
    longer, pretrained = (PLAN.run_of(experiment, 0) for experiment in group.experiments)
    assert "--epochs=18" in longer.words and "--epochs=3" in pretrained.words
    assert longer.work == pretrained.work + pretrained.weights.work


def test_other_objectives_are_at_equal_epochs_and_at_equal_cost():
    group = next(group for group in GROUPS if group.name == "objective")
    latent, fcmae, longer = (PLAN.run_of(experiment, 0).weights for experiment in group.experiments)
    assert "--objective=latent" in latent.words and "--epochs=4" in latent.words
    assert not any("decoder" in word for word in latent.words)
    codesign = next(group for group in GROUPS if group.name == "codesign")
    assert fcmae == PLAN.run_of(codesign["V2 FCMAE"], 0).weights
    # 1.5 times as many, and nothing else.
    assert [word.replace("--epochs=4", "--epochs=6") for word in fcmae.words] == list(longer.words)
    assert longer.work == 1.5 * fcmae.work and longer.name == "pretrain-epochs_6-seed-0"


def test_flags_of_every_pretraining_leave_out_what_latent_prediction_has_not():
    given = ["--decoder_width=8", "--nonormalize_targets", "--mask_ratio=0.5"]
    plan = Plan({**SETTINGS, "pretrain_flags": given})
    group = next(group for group in GROUPS if group.name == "objective")
    latent, fcmae, _ = (plan.run_of(experiment, 0).weights for experiment in group.experiments)
    assert set(given) & set(latent.words) == {"--mask_ratio=0.5"}
    assert set(given) <= set(fcmae.words)


def test_the_decoders_are_also_compared_at_equal_cost():
    group = next(group for group in GROUPS if group.name == "decoder_at_equal_cost")
    hierarchical, longer = (PLAN.run_of(experiment, 0).weights for experiment in group.experiments)
    assert "--epochs=4" in hierarchical.words and "--epochs=14" in longer.words
    assert "--decoder=hierarchical" not in longer.words


@pytest.mark.parametrize("recipe", ["pretrain", "finetune"])
def test_the_recipes_take_the_flags_of_every_run(recipe, tmp_path):
    forget_programs()
    module = importlib.import_module(f"recipes.{recipe}")
    from keras_convnextv2.fcmae import decoders
    from recipes import model_flags, objectives, training_flags

    resolve = objectives.resolve if recipe == "pretrain" else training_flags.resolve
    commands = {run.words: run.command(tmp_path) for run in all_runs() if run.recipe == recipe}
    found = set()
    for words in commands.values():
        module.FLAGS.unparse_flags()
        assert module.FLAGS([recipe, *words]) == [recipe]
        settings = resolve(module.EMBEDDED_RUN, module.FOLDER_RUN)
        block = model_flags.variant_of(settings).block
        of_recipe = (settings.decoder,) if recipe == "pretrain" else (settings.allow_other_blocks,)
        if recipe == "pretrain":
            is_latent = settings.objective == "latent"
            assert settings.decoder in ([None] if is_latent else decoders.names())
        found.add((block.response, block.layer_scale, *of_recipe))
    forget_programs()
    if recipe == "pretrain":
        responses = {
            *("grn", "grn_average", "grn_l1", "grn_standardise", "grn_inverse_sum"),
            *("grn_sum", "grn_no_residual", "lrn", "bn", "ln", "se", "cbam"),
        }
        others = {"unet", "unet_without_skips", "transformer", "hierarchical", "block"}
        expected = {(name, None, "block") for name in responses}
        expected |= {("none", 1e-6, name) for name in others} | {("grn", None, "hierarchical")}
        expected |= {("grn", None, None)}  # latent prediction
        assert found == expected
    else:
        assert found == {
            *(("grn", None, allowed) for allowed in (False, True)),
            *(("none", None, True), ("none", 1e-6, False)),
        }
