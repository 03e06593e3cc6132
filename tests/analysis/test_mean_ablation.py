"""Channels replaced by their means, against the rest of the model in NumPy, on each backend."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.analysis import Ablation, MeanAblation
from tests.reference import block_by_hand
from tests.reference.random_weights import randomize

# A bound for float32 over four blocks of a few channels: hundreds of roundings of 6e-8.
TOLERANCE = {"rtol": 2e-4, "atol": 5e-5}
BLOCK = "stage2_block0"  # there is another stage after it
REMOVED = [0, 3, 4, 11, 30]


def make_classifier(response="grn", seed=0, dtype=None):
    block = kc.BlockSpec(response=response)
    backbone = kc.ConvNeXtV2Backbone(
        kc.Variant((1, 1, 1, 1), (4, 6, 8, 12), block=block),
        (16, 24, 3),
        stem_stride=1,
        drop_path_rate=0.2,
        dtype=dtype,
    )
    classifier = kc.ConvNeXtV2Classifier(backbone, 3)
    randomize(classifier, np.random.default_rng(seed))
    return classifier


@pytest.fixture(scope="module")
def model():
    return make_classifier()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(5).normal(size=(4, 16, 24, 3)).astype("float32")


def by_hand(model, images, change_response, change_output=lambda y: y):
    """{"features", "logits"} where `change_response(block, gelu)` stands in for that of BLOCK."""
    x = images.astype("float64")
    for layer in model.backbone.layers:
        if layer.name == "stem" or layer.name.endswith("_downsample"):
            x = block_by_hand.entering(layer, x)
        elif "_block" in layer.name:
            gelu = block_by_hand.gelu_of(layer, x)
            respond = change_response if layer.name == BLOCK else grn_of
            x = block_by_hand.output_of(layer, x, respond(layer, gelu))
            x = change_output(x) if layer.name == BLOCK else x
    features = x.mean((1, 2))
    _, norm, head = model.layers_of_head()
    kernel, bias = (block_by_hand.value(weight) for weight in (head.kernel, head.bias))
    return {
        "features": features,
        "logits": block_by_hand.normalised(norm, features) @ kernel + bias,
    }


def grn_of(block, gelu):
    return block_by_hand.grn_of(block.response, gelu, block_by_hand.relative_of(gelu))


def at_mean(features, channels):
    """Channels replaced by their means over images and positions."""
    features = features.copy()
    features[..., channels] = features[..., channels].mean((0, 1, 2))
    return features


def frozen(block, gelu):
    return at_mean(grn_of(block, gelu), REMOVED)


def recomputed(block, gelu):
    response = grn_of(block, at_mean(gelu, REMOVED))
    response[..., REMOVED] = grn_of(block, gelu)[..., REMOVED].mean((0, 1, 2))
    return response


def fixed(block, gelu):
    relative = block_by_hand.relative_of(gelu).mean(axis=0)
    return block_by_hand.grn_of(block.response, gelu, relative)


def test_n_frozen_recomputed_and_fixed_are_the_rest_of_the_model_by_hand(model, images):
    batches = [(images[:3],), (images[3:],)]
    ablation = MeanAblation(model, [BLOCK], batches)
    found = ablation.outputs(
        batches,
        [
            Ablation(),
            Ablation({BLOCK: REMOVED}),
            Ablation({BLOCK: REMOVED}, "recomputed"),
            Ablation(relative="mean"),
            Ablation({BLOCK: []}, "recomputed"),
        ],
    )
    expected = [
        by_hand(model, images, respond) for respond in (grn_of, frozen, recomputed, fixed, grn_of)
    ]
    for outputs, of_hand in zip(found, expected, strict=True):
        assert set(outputs) == {"features", "logits"}
        for name, array in outputs.items():
            assert array.dtype == "float32"
            np.testing.assert_allclose(array, of_hand[name], **TOLERANCE)
    # They are apart by far more than the tolerance.
    logits = [outputs["logits"] for outputs in found[:4]]
    for place, one in enumerate(logits):
        assert all(np.abs(one - other).max() > 2e-3 for other in logits[place + 1 :])


@pytest.mark.one_backend
def test_channels_of_a_block_s_output(model, images):
    ablation = MeanAblation(model, [BLOCK], [(images,)], where="output")
    assert ablation.num_channels == {BLOCK: 8}
    (found,) = ablation.outputs([(images,)], [Ablation({BLOCK: [1, 6]})])
    expected = by_hand(model, images, grn_of, lambda y: at_mean(y, [1, 6]))
    np.testing.assert_allclose(found["logits"], expected["logits"], **TOLERANCE)


@pytest.mark.one_backend
def test_without_a_response_nothing_depends_on_the_other_channels(images):
    model = make_classifier("none")
    ablation = MeanAblation(model, [BLOCK], [(images,)])
    one, other = ablation.outputs(
        [(images,)], [Ablation({BLOCK: REMOVED}), Ablation({BLOCK: REMOVED}, "recomputed")]
    )
    np.testing.assert_array_equal(one["logits"], other["logits"])


@pytest.mark.one_backend
@pytest.mark.parametrize("response", ["se", "grn_l1"])
def test_another_response_is_computed_of_what_is_left(response, images):
    model = make_classifier(response)
    ablation = MeanAblation(model, [BLOCK], [(images,)])
    whole, one, other = (
        outputs["logits"]
        for outputs in ablation.outputs(
            [(images,)],
            [Ablation(), Ablation({BLOCK: REMOVED}), Ablation({BLOCK: REMOVED}, "recomputed")],
        )
    )
    np.testing.assert_allclose(whole, model.predict(images, verbose=0), rtol=1e-4, atol=1e-5)
    assert min(np.abs(whole - one).max(), np.abs(one - other).max()) > 1e-3


@pytest.mark.one_backend
@pytest.mark.parametrize("where", ["response", "output"])
def test_half_precision_computes_as_the_model_does(where, images):
    model = make_classifier(dtype="mixed_bfloat16")
    (found,) = MeanAblation(model, [BLOCK], [(images,)], where).outputs([(images,)], [Ablation()])
    now = model.predict(images, verbose=0)
    # bfloat16 rounds by 2^-9: GELU and GRN are one operation there and two here.
    assert np.abs(found["logits"] - now).max() < 0.05 * np.abs(now).max()


@pytest.mark.one_backend
def test_all_channels_removed_leave_what_enters_the_block(model, images):
    names = ["stage3_block0"]
    for where, count in (("response", 48), ("output", 12)):
        ablation = MeanAblation(model, names, [(images,)], where)
        (found,) = ablation.outputs([(images,)], [Ablation({names[0]: range(count)})])
        spread = found["features"].std(axis=0).max()
        assert (spread < 1e-6) == (where == "output")


@pytest.mark.one_backend
def test_the_model_stays_as_it_is_and_is_followed(images):
    model = make_classifier()
    before = model.predict(images, verbose=0)
    weights = [keras.ops.convert_to_numpy(weight.value) for weight in model.weights]
    ablation = MeanAblation(model, [BLOCK, "stage3_block0"], [(images,)])
    ablation.outputs([(images,)], [Ablation({BLOCK: REMOVED, "stage3_block0": [2]}, "mean")])
    np.testing.assert_array_equal(model.predict(images, verbose=0), before)
    for weight, kept in zip(model.weights, weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight.value), kept)
    model.layers_of_head()[-1].bias.assign([1.0, 2.0, 3.0])
    (found,) = ablation.outputs([(images,)], [Ablation()])
    now = model.predict(images, verbose=0)
    np.testing.assert_allclose(found["logits"], now, rtol=1e-4, atol=1e-5)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("where", "ablation", "said"),
    [
        ("response", Ablation({"stage3_block0": [0]}), "The blocks are stage2_block0. Received"),
        ("response", Ablation({BLOCK: [32]}), "ints from 0 to 31"),
        ("response", Ablation({BLOCK: [-1]}), "ints from 0 to 31"),
        ("response", Ablation({BLOCK: [0.5]}), "ints from 0 to 31"),
        ("output", Ablation({BLOCK: [8]}), "ints from 0 to 7"),
        ("output", Ablation({BLOCK: [0]}, "recomputed"), "at its output nothing is frozen"),
    ],
)
def test_what_is_refused(where, ablation, said, model, images):
    changed = MeanAblation(model, [BLOCK], [(images,)], where)
    with pytest.raises(ValueError, match=said):
        changed.outputs([(images,)], [ablation])


@pytest.mark.one_backend
def test_wrong_names_are_refused(model, images):
    with pytest.raises(ValueError, match="one of response, output. Received: 'gelu'"):
        MeanAblation(model, [BLOCK], [(images,)], where="gelu")
    with pytest.raises(ValueError, match="Received: stem"):
        MeanAblation(model, ["stem"], [(images,)])
    with pytest.raises(ValueError, match="one of frozen, recomputed, mean. Received: 'off'"):
        Ablation(relative="off")
    other = MeanAblation(make_classifier("none"), [BLOCK], [(images,)])
    with pytest.raises(ValueError, match="no N of GRN in stage2_block0"):
        other.outputs([(images,)], [Ablation(relative="mean")])
