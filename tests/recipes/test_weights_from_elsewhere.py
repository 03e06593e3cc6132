"""--weights takes other libraries' checkpoints."""

import numpy as np
import pytest

import keras_convnextv2 as kc
from tests.recipes.one_line import assert_one_line
from tests.reference.random_weights import randomize

# That such files load on each backend is tested in tests/weights.
pytestmark = pytest.mark.one_backend


@pytest.fixture
def classifier():
    sizes = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
    model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(sizes, (32, 64, 3)), 3)
    randomize(model, np.random.default_rng(0))
    return model


@pytest.mark.parametrize(
    ("format", "name"), [("official", "a.pth"), ("timm", "a.safetensors"), ("transformers", "a")]
)
def test_fine_tuning_starts_from_them(run_recipe, classifier, images_dir, tmp_path, format, name):
    kc.save_weights(classifier.backbone, tmp_path / name, format)
    outcome = run_recipe(
        "finetune",
        f"--weights={tmp_path / name}",
        f"--data_dir={images_dir}",
        f"--output_dir={tmp_path / 'run'}",
        "--image_size=32x64",
        "--epochs=1",
        "--batch_size=8",
        "--learning_rate=1e-20",  # too small to move a float32 weight
    )
    assert outcome.status == 0, outcome.err
    tuned = kc.from_preset(tmp_path / "run" / "model")
    for before, after in zip(
        classifier.backbone.get_weights(), tuned.backbone.get_weights(), strict=True
    ):
        np.testing.assert_allclose(after, before, atol=1e-12)


def test_fine_tuning_on_images_of_other_channels_adapts_the_stem_and_says_so(
    run_recipe, images_dir, tmp_path
):
    grey = kc.ConvNeXtV2Backbone(kc.Variant((1, 1, 1, 1), (4, 6, 8, 12)), (32, 64, 1))
    randomize(grey, np.random.default_rng(0))
    kc.save_weights(grey, tmp_path / "grey.safetensors")
    outcome = run_recipe(
        "finetune",
        f"--weights={tmp_path / 'grey.safetensors'}",
        f"--data_dir={images_dir}",
        f"--output_dir={tmp_path / 'run'}",
        "--epochs=1",
        "--batch_size=8",
        "--learning_rate=1e-20",  # too small to move a float32 weight
    )
    assert outcome.status == 0, outcome.err
    assert "images of 1 channel(s), the images have 3: the stem's kernel" in outcome.err
    tuned = kc.from_preset(tmp_path / "run" / "model").backbone
    kernels = [model.get_layer("stem").layers[0].kernel.numpy() for model in (grey, tuned)]
    np.testing.assert_allclose(kernels[1], kernels[0].repeat(3, axis=2) / 3, rtol=1e-6)


def test_evaluation_takes_a_classifier_at_the_size_of_the_flag(
    run_recipe, classifier, images_dir, tmp_path
):
    kc.save_weights(classifier, tmp_path / "a.pt", "timm")
    words = (f"--weights={tmp_path / 'a.pt'}", f"--data_dir={images_dir}", "--json")
    losses = {
        size: run_recipe("evaluate", *words, f"--image_size={size}").result["loss"]
        for size in ("32x64", "64x64")
    }
    assert np.isfinite(list(losses.values())).all()
    assert losses["32x64"] != losses["64x64"]


def test_the_size_that_is_taken_where_they_name_none_is_said(
    run_recipe, classifier, images_dir, tmp_path
):
    for name, format in (("none.pth", "official"), ("one.safetensors", "timm")):
        kc.save_weights(classifier, tmp_path / name, format)
    words = (f"--data_dir={images_dir}", "--batch_size=3")
    for recipe, more in (("evaluate", ()), ("linear_probe", ("--probes=knn", "--feature_cache="))):
        said = run_recipe(recipe, f"--weights={tmp_path / 'none.pth'}", *words, *more).err
        assert "image size       224, as --weights does not say one; --image_size sets" in said
    for more in ("--weights=none.pth --image_size=32x64", "--weights=one.safetensors"):
        more = more.replace("--weights=", f"--weights={tmp_path}/").split()
        outcome = run_recipe("evaluate", *words, *more)
        assert outcome.status == 0 and "does not say one" not in outcome.err


def test_evaluation_compares_their_class_names(run_recipe, classifier, images_dir, tmp_path):
    classifier.class_names = ("coat", "boot", "dress")
    kc.save_weights(classifier, tmp_path / "folder", "transformers")
    words = (f"--weights={tmp_path / 'folder'}", f"--data_dir={images_dir}")
    outcome = run_recipe("evaluate", *words)
    assert_one_line(outcome, "evaluate", "class 0", "'coat'", "'boot'", "another order")


def test_what_cannot_be_loaded_is_one_line(run_recipe, classifier, images_dir, tmp_path):
    kc.save_weights(classifier, tmp_path / "a.pt", "timm")
    (tmp_path / "a.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:-5000])
    words = (f"--data_dir={images_dir}", f"--output_dir={tmp_path / 'run'}", "--batch_size=8")
    outcome = run_recipe("finetune", *words, f"--weights={tmp_path / 'a.pt'}")
    assert_one_line(outcome, "finetune", "--weights: ", "a.pt", "damaged")
    outcome = run_recipe("finetune", *words, f"--weights={tmp_path / 'nowhere'}")
    assert_one_line(outcome, "finetune", "--weights: ", "no file or folder", "nowhere")
