"""The programs that use other libraries' models: they learn, and say in one line what is wrong."""

import sys

import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.data import open_source
from recipes.images import EMBEDDED_IMAGES
from recipes.neighbours.scenes import make_scenes, mean_iou, share_found
from tests.recipes.one_line import assert_one_line

# That their tasks train our backbone on each backend is tested in tests/export.
pytestmark = pytest.mark.one_backend

TINY = ("--depths=1,1,1,1", "--widths=8,12,16,24", "--image_size=64x64", "--json")
SEGMENTERS = ("segment_with_keras_cv", "segment_with_keras_hub")
DETECTORS = ("detect_with_keras_cv", "detect_with_keras_hub")


@pytest.fixture
def run(run_program):
    return lambda name, *words: run_program(f"recipes.neighbours.{name}", *words)


@pytest.fixture(scope="module")
def scenes():
    return make_scenes(open_source(EMBEDDED_IMAGES, "test"), 6, (64, 96), 3, seed=1)


def test_boxes_and_masks_of_scenes_agree(scenes):
    assert scenes.images.shape == (6, 64, 96, 3) and scenes.images.dtype == "float32"
    for mask, boxes, kinds in zip(scenes.masks, scenes.boxes, scenes.kinds, strict=True):
        inside = np.zeros(mask.shape, bool)
        for (left, top, right, bottom), kind in zip(boxes.astype(int), kinds, strict=True):
            part = mask[top:bottom, left:right]
            assert set(np.unique(part)) <= {0, 1 + kind}
            for edge in (part[0], part[-1], part[:, 0], part[:, -1]):  # the box is tight
                assert np.any(edge)
            inside[top:bottom, left:right] = True
        assert not np.any(mask[~inside])
        assert len(set(map(tuple, boxes))) == 3
    np.testing.assert_array_equal(scenes.one_hot_masks.argmax(-1), scenes.masks)


def test_images_of_other_things_are_refused():
    class Animals:
        class_names = ("cat", "Bag", "dog")

    with pytest.raises(ValueError, match="--data_dir: .* of T-shirt/top, .*classes cat, dog"):
        make_scenes(Animals(), 1, (64, 64), 3, seed=0)


def test_mean_iou_by_hand():
    masks = np.array([[[0, 0, 2, 2]]])
    assert mean_iou(masks, masks) == 1
    # 0: 1 of 2 positions; 2: 2 of 3.
    np.testing.assert_allclose(mean_iou(masks, np.array([[[0, 2, 2, 2]]])), (1 / 2 + 2 / 3) / 2)


def test_garments_are_found_by_the_right_boxes(scenes):
    confidence = np.full((6, 3), 0.9)
    assert share_found(scenes, scenes.boxes, scenes.kinds, confidence) == 1
    assert share_found(scenes, scenes.boxes, scenes.kinds, -confidence) == 0
    assert share_found(scenes, scenes.boxes, 1 + scenes.kinds, confidence) == 0
    assert share_found(scenes, scenes.boxes + 40, scenes.kinds, confidence) < 0.2
    # The same box again says nothing new, a wrong one that is more confident takes a place.
    again = [np.repeat(values, 2, axis=1) for values in (scenes.boxes, scenes.kinds, confidence)]
    assert share_found(scenes, *again) == 1
    boxes = np.concatenate([scenes.boxes, np.full((6, 1, 4), [0, 0, 2, 2])], axis=1)
    kinds = np.concatenate([scenes.kinds, np.zeros((6, 1), int)], axis=1)
    confidence = np.concatenate([confidence, np.ones((6, 1))], axis=1)
    np.testing.assert_allclose(share_found(scenes, boxes, kinds, confidence), 2 / 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", SEGMENTERS + DETECTORS)
def test_it_learns_from_scenes(run, name):
    outcome = run(
        name,
        *TINY,
        "--train_scenes=4",
        "--test_scenes=2",
        "--batch_size=2",
        "--epochs=3",
        f"--learning_rate={3e-4 if name in SEGMENTERS else 1e-4}",
    )
    assert outcome.status == 0, outcome.err
    result = outcome.result
    assert result["loss_after"] < result["loss_before"]
    metric = "mean_iou" if name in SEGMENTERS else "found"
    assert 0 <= result[f"{metric}_before"] <= 1
    assert 0 <= result[f"{metric}_after"] <= 1
    assert result["test_scenes"] == 2


@pytest.fixture
def grey_weights(tmp_path):
    """A backbone as recipes.pretrain leaves it: of grey images of 32x32, stem_stride=1."""
    backbone = kc.ConvNeXtV2Backbone(
        kc.Variant((1, 1, 1, 1), (4, 6, 8, 12)), (32, 32, 1), stem_stride=1
    )
    backbone.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


@pytest.fixture
def few_garments(tmp_path):
    """A --data_dir of 40 embedded images to train on and 20 to test on."""
    for split, count in (("train", 40), ("test", 20)):
        with np.load(EMBEDDED_IMAGES / f"{split}.npz") as arrays:
            some = dict(arrays)
        order = np.argsort(some["labels"], kind="stable").reshape(10, -1)[:, : count // 10].ravel()
        some["images"], some["labels"] = some["images"][order], some["labels"][order]
        np.savez(tmp_path / f"{split}.npz", **some)
    return tmp_path


def test_tf_keras_fine_tunes_pretrained_weights(run, grey_weights, few_garments, tmp_path):
    output = tmp_path / "tuned.keras"
    outcome = run(
        "fine_tune_with_tf_keras",
        f"--weights={grey_weights}",
        f"--data_dir={few_garments}",
        f"--output={output}",
        "--train_images=40",
        "--batch_size=20",
        "--epochs=2",
        "--json",
    )
    assert outcome.status == 0, outcome.err
    result = outcome.result
    assert result["apart_from_keras_3"] < 1e-5
    assert result["loss_after"] < result["loss_before"]
    assert output.is_file()


@pytest.mark.parametrize(
    ("name", "words", "parts"),
    [
        ("segment_with_keras_cv", ["--stem_stride=2"], ["--stem_stride=4", "Received: 2"]),
        ("detect_with_keras_hub", ["--image_size=48"], ["multiples of 32", "Received: 48"]),
        ("segment_with_keras_hub", ["--variant=huge", *TINY], ["--variant, or --depths"]),
        ("detect_with_keras_cv", ["--weights=nowhere"], ["--weights", "nowhere"]),
    ],
)
def test_flags_that_do_not_fit(run, name, words, parts):
    assert_one_line(run(name, *words), name, *parts)


def test_weights_of_another_stem_stride(run, grey_weights):
    name = "segment_with_keras_cv"
    outcome = run(name, f"--weights={grey_weights}")
    assert_one_line(outcome, name, "--stem_stride=4", "Received: 1")


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("segment_with_keras_cv", "keras_cv", "keras-cv"),
        ("detect_with_keras_cv", "keras_cv", "keras-cv"),
        ("segment_with_keras_hub", "keras_hub", "keras-hub"),
        ("detect_with_keras_hub", "keras_hub", "keras-hub"),
        ("fine_tune_with_tf_keras", "tf_keras", "tf-keras"),
    ],
)
def test_a_library_that_is_not_installed(run, monkeypatch, tmp_path, name, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    words = [f"--output={tmp_path / 'x'}"] if package == "tf_keras" else TINY
    outcome = run(name, *words)
    assert_one_line(outcome, name, f"the package {package} is not installed", f".[{extra}]")
