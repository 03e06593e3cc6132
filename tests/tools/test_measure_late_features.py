import json

import keras
import numpy as np
import pytest
from PIL import Image

import keras_convnextv2 as kc
from keras_convnextv2.analysis import (
    Ablation,
    BlockFeatures,
    MeanAblation,
    channel_subset_probe,
    compute_features,
    correlation,
    feature_model,
    label_fraction,
    removal_order,
    representation_measures,
    tuned_ridge_probe,
)
from keras_convnextv2.data import ImageBatches, ResizeThenCrop, open_source, preprocess
from tests.recipes.one_line import assert_one_line
from tests.reference.random_weights import randomize

pytestmark = pytest.mark.one_backend  # the features of each backend: tests/analysis

MEAN, STD = np.full(3, 0.5, "float32"), np.full(3, 0.3, "float32")
LABELS = np.arange(48) % 3
LATE = (
    *("--removed=0.5", "--removal_draws=1", "--draws=2", "--fractions=0.5,1", "--label_draws=1"),
    *("--label_fractions=1,0.1", "--ablation_images=30", "--batch_size=48"),
)


def make_model(seed, response="grn", classifier=False):
    block = kc.BlockSpec(response=response)
    variant = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12), block=block)
    backbone = kc.ConvNeXtV2Backbone(variant, (16, 24, 3), stem_stride=1)
    model = kc.ConvNeXtV2Classifier(backbone, 3) if classifier else backbone
    randomize(model, np.random.default_rng(seed))
    backbone.normalisation = MEAN, STD
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of three classes, and five models."""
    folder = tmp_path_factory.mktemp("late")
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        colours = 80 * np.eye(3)[LABELS][:, None, None] + rng.integers(0, 175, (48, 16, 24, 3))
        arrays = {"images": colours.astype("uint8"), "labels": LABELS}
        np.savez(folder / f"{split}.npz", class_names=list("abc"), mean=MEAN, std=STD, **arrays)
    make_model(0, classifier=True).save(folder / "v2.keras")
    make_model(1, "none").save(folder / "v1.keras")
    for seed in (2, 3, 4):
        make_model(seed).save(folder / f"more{seed}.keras")
    return folder


def images_of(folder, split):
    with np.load(folder / f"{split}.npz") as arrays:
        return preprocess(arrays["images"], MEAN, STD)


@pytest.fixture(scope="module")
def late(folder, run_program):
    outcome = run_program(
        "tools.measure_late_features",
        f"--data_dir={folder}",
        *(f"--weights={folder / name}.keras" for name in ("v2", "v1")),
        "--names=second,first",
        *LATE,
        f"--output_dir={folder / 'out'}",
    )
    assert outcome.status == 0, outcome.err
    return outcome, json.loads((folder / "out" / "measures.json").read_text())


def test_the_figures_are_those_of_the_functions(late, folder):
    _, result = late
    assert list(result["models"]) == ["second", "first"]
    found = result["models"]["second"]
    model = keras.saving.load_model(folder / "v2.keras")
    train, test = (images_of(folder, split) for split in ("train", "test"))

    last = BlockFeatures(model, ["stage3_block0"], "output")
    pooled = [last(images)["stage3_block0"].mean((1, 2)) for images in (train, test)]
    expected = channel_subset_probe((pooled[0], LABELS), (pooled[1], LABELS), (0.5, 1.0), 2)
    assert found["subsets"]["stage3"]["100%"] == {
        what: pytest.approx(values) for what, values in expected.accuracies.items()
    }
    few = label_fraction(LABELS, 0.1)
    expected = channel_subset_probe(
        (pooled[0][few], LABELS[few]), (pooled[1], LABELS), (0.5, 1.0), 2
    )
    assert found["subsets"]["stage3"]["10%"] == {
        what: pytest.approx(values) for what, values in expected.accuracies.items()
    }
    components = found["components"]["stage3"]["100%"]
    assert list(components)[-2:] == ["12 components", "12 rotated"]

    chosen = label_fraction(LABELS, 30 / 48)  # of each class alike
    batches = [(train[chosen],)]
    maps = BlockFeatures(model, ["stage3_block0"])(train)["stage3_block0"]
    weakest = removal_order(maps, "response")[:24]
    ablation = MeanAblation(model, ["stage3_block0"], batches)
    change = [Ablation({"stage3_block0": weakest}, "recomputed")]
    (of_train,), (of_test,) = (ablation.outputs(part, change) for part in (batches, [(test,)]))
    (row,) = (
        row
        for row in found["removals"]["stage3_block0"]["response"]["rows"]
        if (row["by"], row["relative"]) == ("response", "recomputed")
    )
    assert row["head"] == pytest.approx(np.mean(of_test["logits"].argmax(1) == LABELS))
    probe = tuned_ridge_probe((of_train["features"], LABELS[chosen]), (of_test["features"], LABELS))
    assert row["probe"]["100%"] == [pytest.approx(probe.mean())]
    whole = found["removals"]["stage3_block0"]["response"]["rows"][0]
    assert whole["head"] == pytest.approx(
        np.mean(model.predict(test, verbose=0).argmax(1) == LABELS)
    )


def test_each_model_has_the_rows_that_it_can_have(late):
    _, result = late
    second, first = result["models"].values()
    assert [len(second["fixed"]), len(first["fixed"])] == [4, 0]  # V1 has no N
    for model, ways in ((second, {"frozen", "recomputed"}), (first, {"frozen"})):
        places = model["removals"]["stage2_block0"]
        assert {row["relative"] for row in places["response"]["rows"]} == ways
        assert {row["by"] for row in places["output"]["rows"]} == {
            *("none", "redundancy", "response", "random")
        }
        assert places["response"]["channels"] == 32 and places["output"]["channels"] == 8
        assert ("head" in places["output"]["rows"][0]) == (model is second)


def test_the_table_and_the_pictures(late, folder):
    outcome, result = late
    text = (folder / "out" / "late_features.md").read_text()
    assert text == outcome.out
    half = 100 * np.mean(result["models"]["first"]["subsets"]["stage3"]["100%"]["50%"])
    assert f"| first | stage3 | 100% | {half:.1f} ± " in text
    widths = {}
    for line in text.splitlines():
        if line.startswith("|"):
            widths.setdefault(line.count("|"), []).append(line)
    assert all(line.endswith(" |") for lines in widths.values() for line in lines)
    for name in ("subsets", "components", "removals"):
        with Image.open(folder / "out" / f"{name}.png") as picture:
            assert picture.format == "PNG" and min(picture.size) > 300


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], ["--weights: name a model"]),
        (["--weights={}/v2.keras", "--names=a,b"], ["--names is 1 different names"]),
        (["--weights={}/v2.keras", "--fractions=0,1"], ["--fractions is numbers", "'0,1'"]),
        (["--weights={}/v2.keras", "--label_fractions=few"], ["--label_fractions is", "'few'"]),
        (["--weights={}/v2.keras", "--blocks=stem"], ["stage3_block0", "Received: stem"]),
        (["--weights={}/none.keras"], ["none.keras"]),
    ],
)
def test_what_is_refused_is_one_line(words, said, folder, run_program):
    words = [word.format(folder) for word in words]
    outcome = run_program("tools.measure_late_features", f"--data_dir={folder}", *LATE, *words)
    assert_one_line(outcome, "measure_late_features", *said)


def test_correlations_are_of_the_measures_of_all_models(folder, run_program):
    outcome = run_program(
        "tools.correlate_measures",
        f"--data_dir={folder}",
        *(f"--weights={path}" for path in sorted(folder.glob("*.keras"))),
        "--label_fractions=1",
        f"--output_dir={folder / 'correlation'}",
    )
    assert outcome.status == 0, outcome.err
    result = json.loads((folder / "correlation" / "correlation.json").read_text())
    models = result["models"]
    assert list(models) == [f"{name}.keras" for name in ("more2", "more3", "more4", "v1", "v2")]
    model = keras.saving.load_model(folder / "v2.keras")
    features = [
        compute_features(feature_model(model), [(images_of(folder, split),)]).features
        for split in ("train", "test")
    ]
    found = models["v2.keras"]
    distances = {found["measures"].pop(f"distance_after_{place}") for place in ("gelu", "response")}
    assert len(distances) == 2 and all(0 < distance < 0.5 for distance in distances)
    assert found["measures"] == pytest.approx(representation_measures(features[1]), rel=1e-4)
    probe = tuned_ridge_probe(*((array, LABELS) for array in features)).mean()
    right = model.predict(images_of(folder, "test"), verbose=0).argmax(1) == LABELS
    assert found["accuracies"] == pytest.approx(
        {"probe, 100% of labels": probe, "own head": np.mean(right)}
    )
    (one,) = (
        pair
        for pair in result["correlations"]
        if (pair["models"], pair["measure"]) == ("all", "rankme")
    )
    expected = correlation(
        [model["measures"]["rankme"] for model in models.values()],
        [model["accuracies"]["probe, 100% of labels"] for model in models.values()],
    )
    assert {key: one[key] for key in expected} == expected
    assert f"| all | RankMe | probe, 100% of labels | 5 | {one['pearson']:.2f} |" in outcome.out
    with Image.open(folder / "correlation" / "correlation.png") as picture:
        assert min(picture.size) > 300


def test_a_model_is_measured_as_its_run_framed_and_a_classifier_is_one(
    folder, run_program, tmp_path
):
    run = tmp_path / "run"
    run.mkdir()
    (run / "settings.flags").write_text("--evaluation_crop=0.5\n")
    model = make_model(5, classifier=True)
    kc.save_weights(model, run / "model")
    other_classes = kc.ConvNeXtV2Classifier(make_model(6), 4)
    kc.save_weights(other_classes, tmp_path / "others")
    words = [f"--weights={folder / name}.keras" for name in ("more2", "more3")]
    outcome = run_program(
        "tools.correlate_measures",
        f"--data_dir={folder}",
        *(f"--weights={run}", f"--weights={tmp_path / 'others'}", *words),
        *("--label_fractions=1", "--json"),
    )
    assert outcome.status == 0, outcome.err
    assert f"evaluation crop  0.5, as in the run of {run}" in outcome.err
    assert "others is a classifier of other classes" in outcome.err
    found = json.loads(outcome.out)["models"]
    assert [of["about"]["kind"] for of in found.values()] == [
        *("classifier", "classifier", "pretrained", "pretrained")
    ]
    assert ["own head" in of["accuracies"] for of in found.values()] == [True] + 3 * [False]
    assert [of["about"]["evaluation_crop"] for of in found.values()] == [0.5, 0, 0, 0]
    test = open_source(folder, "test")
    batches = ImageBatches(test, ResizeThenCrop((16, 24), 0.5), 48, labelled=False)
    features = compute_features(feature_model(model), batches).features
    measures = {name: found["run"]["measures"][name] for name in ("rankme", "alpha_req")}
    expected = representation_measures(features)
    assert measures == pytest.approx({name: expected[name] for name in measures}, rel=1e-4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--weights={}/v2.keras"], ["4 models or more", "Found: 1"]),
        (["--runs_dir={}/nowhere"], ["nowhere is no folder"]),
        (["--runs_dir={}"], ["holds no finished run"]),
    ],
)
def test_what_correlations_are_refused(words, said, folder, run_program):
    words = [word.format(folder) for word in words]
    outcome = run_program("tools.correlate_measures", f"--data_dir={folder}", *words)
    assert_one_line(outcome, "correlate_measures", *said)
