import json

import numpy as np
import pytest
from PIL import Image

import keras_convnextv2 as kc
from keras_convnextv2.analysis import (
    collapse_by_block,
    compute_features,
    feature_model,
    linear_cka,
    representation_measures,
)
from keras_convnextv2.data import preprocess
from tests.recipes.one_line import assert_one_line
from tests.reference.random_weights import randomize

pytestmark = pytest.mark.one_backend  # the features of each backend: tests/analysis

SIZES = (1, 1, 1, 1), (4, 6, 8, 12)
RANDOM = ("--depths=1,1,1,1", "--widths=4,6,8,12", "--stem_stride=1", "--image_size=16x24")
MEAN, STD = np.full(3, 0.5, "float32"), np.full(3, 0.3, "float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """test.npz of 24 images, without labels, and two models: a.keras and b.keras."""
    folder = tmp_path_factory.mktemp("measured")
    images = np.random.default_rng(0).integers(0, 256, (24, 16, 24, 3), dtype="uint8")
    for split in ("train", "test"):
        np.savez(folder / f"{split}.npz", images=images, mean=MEAN, std=STD)
    for seed, name in enumerate("ab"):
        backbone = kc.ConvNeXtV2Backbone(kc.Variant(*SIZES), (16, 24, 3), stem_stride=1)
        randomize(backbone, np.random.default_rng(seed))
        backbone.normalisation = MEAN, STD
        backbone.save(folder / f"{name}.keras")
    return folder


@pytest.fixture(scope="module")
def of_three(folder, run_program):
    """A run on two models and random weights, with all that it writes."""
    words = (f"--data_dir={folder}", "--num_images=20", "--lidar_views=2", *RANDOM)
    outcome = run_program(
        "tools.measure_collapse",
        *words,
        f"--weights={folder / 'a.keras'}",
        f"--weights={folder / 'b.keras'}",
        f"--output_dir={folder / 'out'}",
    )
    assert outcome.status == 0, outcome.err
    return outcome, json.loads((folder / "out" / "measures.json").read_text()), words


def test_the_figures_are_those_of_the_functions(of_three, folder):
    _, result, _ = of_three
    assert list(result["models"]) == ["random", "a.keras", "b.keras"]
    with np.load(folder / "test.npz") as arrays:
        # A permutation of the places by the seed, in the order of the source.
        chosen = np.sort(np.random.default_rng(0).permutation(24)[:20])
        images = preprocess(arrays["images"][chosen], MEAN, STD)
    features = []
    for name in ("a.keras", "b.keras"):
        model = kc.from_preset(folder / name)
        features.append(compute_features(feature_model(model), [(images,)]).features)
        found = result["models"][name]
        assert found["last_features"].pop("lidar") > 1
        # Batches of 20 and of 25 filled up are summed in other orders, in float32.
        expected = representation_measures(features[-1])
        assert found["last_features"] == pytest.approx(expected, rel=1e-4)
        blocks = collapse_by_block(model, [(images,)])
        assert list(found["blocks"]) == list(blocks)
        for block, figures in blocks.items():
            assert found["blocks"][block] == pytest.approx(figures, rel=1e-4)
    assert [pair["models"] for pair in result["cka"]] == [
        ["random", "a.keras"],
        ["random", "b.keras"],
        ["a.keras", "b.keras"],
    ]
    assert result["cka"][2]["linear_cka"] == pytest.approx(linear_cka(*features), rel=1e-3)


def test_the_table_and_the_pictures(of_three, folder):
    outcome, result, _ = of_three
    lines = [line for line in outcome.out.splitlines() if str(folder) not in line]
    assert len(lines) > 30 and max(map(len, lines)) <= 80
    words = " ".join(outcome.out.split())
    figures = result["models"]["b.keras"]["blocks"]["stage2_block0"]
    assert (
        f"stage2_block0 32 {figures['cosine_distance']:.4f} "
        f"{figures['shuffled_cosine_distance']:.4f} {figures['rankme']:.1f}"
    ) in words
    assert "random weights random, seed 0" in words
    assert "20 of them by seed 0" in words and "linear CKA of a.keras and b.keras" in words
    for name in ("distances.png", "channels.png"):
        with Image.open(folder / "out" / name) as picture:
            assert picture.format == "PNG" and min(picture.size) > 300
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "channels.png",
        "distances.png",
        "measures.json",
    ]


def test_the_same_command_gives_the_same_and_another_seed_other_images(
    of_three, folder, run_program
):
    _, result, words = of_three
    words = [*words, f"--weights={folder / 'a.keras'}", "--json"]
    again, other = (
        run_program("tools.measure_collapse", *words, f"--seed={seed}").result for seed in (0, 1)
    )
    lidar = again["models"]["random"]["last_features"]["lidar"]
    assert again["models"]["random"] == result["models"]["random"] and lidar > 1
    assert again["models"]["a.keras"]["blocks"] == result["models"]["a.keras"]["blocks"]
    assert other["models"]["a.keras"]["blocks"] != again["models"]["a.keras"]["blocks"]


def test_a_model_is_measured_as_its_run_framed(folder, run_program, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "settings.flags").write_text("--evaluation_crop=0.5\n")
    kc.save_weights(kc.from_preset(folder / "a.keras"), run / "model")
    weights = (f"--weights={run}", f"--weights={folder / 'a.keras'}")
    words = ("tools.measure_collapse", f"--data_dir={folder}", *weights, "--json")
    cropped, not_cropped = run_program(*words).result["models"].values()
    _, asked_for = run_program(*words, "--evaluation_crop=0.5").result["models"].values()
    assert cropped["blocks"] == asked_for["blocks"] != not_cropped["blocks"]
    assert (cropped["evaluation_crop"], not_cropped["evaluation_crop"]) == (0.5, 0)


def test_a_layer_scale_is_of_random_weights_beside_others(folder, run_program):
    words = (f"--data_dir={folder}", f"--weights={folder / 'a.keras'}", "--num_images=2", "--json")
    outcome = run_program("tools.measure_collapse", *words, "--layer_scale=1e-6")
    assert list(outcome.result["models"]) == ["random", "a.keras"]


def test_widths_alone_are_refused_beside_weights_too(folder, run_program):
    words = (f"--weights={folder / 'a.keras'}", "--widths=4,6,8,12")
    outcome = run_program("tools.measure_collapse", f"--data_dir={folder}", *words)
    assert_one_line(outcome, "measure_collapse", "--depths and --widths go together")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--weights=nowhere.keras"], ["nowhere.keras"]),
        (["--data_dir=nowhere"], ["nowhere does not exist"]),
        (["--split=validation"], ["validation"]),
        (["--lidar_views=1"], ["--lidar_views must be 2 or more, or 0", "Received: 1"]),
        (["--channels_of=stem"], ["--channels_of: random has", "stage3_block0", "'stem'"]),
        (["--num_images=1"], ["num_images"]),
        (["--where=grn"], ["where"]),
    ],
)
def test_what_is_refused_is_one_line(words, said, folder, run_program):
    outcome = run_program("tools.measure_collapse", f"--data_dir={folder}", *RANDOM, *words)
    assert_one_line(outcome, "measure_collapse", *said)


def test_a_folder_with_something_in_it_is_left_alone(of_three, folder, run_program):
    outcome = run_program("tools.measure_collapse", *RANDOM, f"--output_dir={folder / 'out'}")
    assert_one_line(outcome, "measure_collapse", "is not empty, and nothing is overwritten")
