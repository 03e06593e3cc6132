"""Features inside blocks, against a forward pass written out in NumPy, on each backend."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.analysis import (
    BlockFeatures,
    channel_cosine_distance,
    collapse_by_block,
    participation_ratio,
    rankme,
    shuffled_cosine_distance,
)
from keras_convnextv2.layers import responses
from tests.reference.block_by_hand import (
    entering,
    gelu_of,
    grn_of,
    output_of,
    relative_of,
    value,
)
from tests.reference.random_weights import randomize

# A bound for float32 over two blocks of a few channels: hundreds of roundings of 6e-8.
TOLERANCE = {"rtol": 2e-4, "atol": 2e-5}


@responses.register("halved")
@keras.saving.register_keras_serializable(package="test_block_features")
class Halved(keras.layers.Layer):
    """A response of somebody's own, which asks the region."""

    def call(self, x, region):
        return x / 2 - keras.ops.cast(region.sum(x) / region.count(x), x.dtype)


def make_backbone(response="grn", layer_scale=None, dtype=None, seed=0):
    block = kc.BlockSpec(response=response, layer_scale=layer_scale)
    variant = kc.Variant((2, 1, 1, 1), (4, 6, 8, 12), block=block)
    backbone = kc.ConvNeXtV2Backbone(
        variant, (16, 24, 3), stem_stride=1, drop_path_rate=0.3, dtype=dtype
    )
    randomize(backbone, np.random.default_rng(seed))
    return backbone


@pytest.fixture(scope="module")
def backbone():
    return make_backbone()


@pytest.fixture
def images(rng):
    return rng.normal(size=(3, 16, 24, 3)).astype("float32")


def by_hand(block, x):
    """{"gelu", "response", "output"} of a block."""
    gelu = gelu_of(block, x)
    if block.spec.response == "grn":
        response = grn_of(block.response, gelu, relative_of(gelu))
    elif block.spec.response == "halved":
        response = gelu / 2 - gelu.mean((1, 2), keepdims=True)
    else:
        response = gelu
    return {"gelu": gelu, "response": response, "output": output_of(block, x, response)}


def expected_of(backbone, images):
    """{block: what `by_hand` gives} through the whole backbone."""
    found, x = {}, images.astype("float64")
    for layer in backbone.layers:
        if layer.name == "stem" or layer.name.endswith("_downsample"):
            x = entering(layer, x)
        elif "_block" in layer.name:
            found[layer.name] = by_hand(layer, x)
            x = found[layer.name]["output"]
    return found


@pytest.mark.parametrize(
    ("response", "layer_scale", "where"),
    [
        ("grn", None, "gelu"),
        ("grn", None, "response"),
        pytest.param("grn", None, "output", marks=pytest.mark.one_backend),
        pytest.param("none", 1e-6, "response", marks=pytest.mark.one_backend),
        ("halved", None, "response"),
    ],
)
def test_the_values_are_those_of_a_pass_by_hand(response, layer_scale, where, images):
    backbone = make_backbone(response, layer_scale)
    expected = expected_of(backbone, images)
    found = BlockFeatures(backbone, where=where)(images)
    assert list(found) == list(expected)
    for name, maps in found.items():
        assert maps.dtype == "float32"
        np.testing.assert_allclose(maps, expected[name][where], **TOLERANCE)


@pytest.mark.parametrize("make", [lambda b: kc.ConvNeXtV2Classifier(b, 3), kc.FCMAE])
def test_a_classifier_and_an_fcmae_give_their_backbone_s(make, backbone, images):
    features = BlockFeatures(make(backbone), ["stage1_block0", "stage0_block1", "stage1_block0"])
    assert features.names == ("stage0_block1", "stage1_block0")  # in the order of depth
    expected = expected_of(backbone, images)
    for name, maps in features(images).items():
        np.testing.assert_allclose(maps, expected[name]["response"], **TOLERANCE)


def test_the_model_is_as_before_and_the_features_follow_its_weights(images):
    backbone = make_backbone()
    layers = [(layer.name, len(layer._inbound_nodes)) for layer in backbone.layers]
    weights = [value(weight) for weight in backbone.weights]
    features = BlockFeatures(backbone, ["stage0_block0"])
    before = features(images)["stage0_block0"]
    assert [(layer.name, len(layer._inbound_nodes)) for layer in backbone.layers] == layers
    for weight, kept in zip(backbone.weights, weights, strict=True):
        np.testing.assert_array_equal(value(weight), kept)
    backbone.get_layer("stage0_block0").expand.bias.assign(np.ones(16, "float32"))
    assert np.abs(features(images)["stage0_block0"] - before).max() > 0.1


def test_half_precision_gives_float32_of_what_the_blocks_compute(images):
    dtype = "mixed_bfloat16"
    backbone = make_backbone(dtype=dtype)
    found = BlockFeatures(backbone, ["stage0_block1"])(images)["stage0_block1"]
    assert found.dtype == "float32"
    expected = expected_of(backbone, images)["stage0_block1"]["response"]
    # bfloat16 rounds by 2^-9 at each of a dozen operations.
    assert 0 < np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_measures_of_batches_are_those_of_all_images_at_once(backbone, images):
    features = BlockFeatures(backbone, ["stage0_block0", "stage0_block1"])
    done = []
    found = features.measure(
        [(images,), (images[:1], np.zeros(1))],
        {"mean": lambda maps: maps.mean((1, 2))},
        lambda *places: done.append(places),
    )
    assert done == [(1, 2), (2, 2)]
    for name, maps in features(images).items():
        means = maps.mean((1, 2))
        expected = np.concatenate([means, means[:1]])
        np.testing.assert_allclose(found[name]["mean"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.one_backend
def test_collapse_by_block_is_the_mean_of_the_measures(backbone, images):
    found = collapse_by_block(backbone, [(images[:2],), (images[2:],)], where="gelu")
    maps = BlockFeatures(backbone, where="gelu")(images)
    assert list(found) == list(maps)
    for name, figures in found.items():
        pooled = maps[name].mean((1, 2), dtype="float64")
        expected = {
            "channels": maps[name].shape[-1],
            "cosine_distance": channel_cosine_distance(maps[name]).mean(),
            "shuffled_cosine_distance": shuffled_cosine_distance(maps[name]).mean(),
            "rankme": rankme(pooled),
            "participation_ratio": participation_ratio(pooled),
        }
        # Batches of other sizes are summed in another order.
        assert figures == pytest.approx(expected, rel=1e-4)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"where": "grn"}, "one of gelu, response, output. Received: 'grn'"),
        ({"names": ["stage0_block0", "stem"]}, "stage0_block1.*Received: stem"),
        ({"names": []}, "Received: none"),
    ],
)
def test_what_is_refused(backbone, arguments, said):
    with pytest.raises(ValueError, match=said):
        BlockFeatures(backbone, **arguments)


@pytest.mark.one_backend
def test_other_models_are_refused():
    with pytest.raises(ValueError, match="those of a ConvNeXtV2Backbone. Received"):
        BlockFeatures(keras.Sequential())


@pytest.mark.one_backend
@pytest.mark.parametrize("response", ["lrn", "bn", "ln", "se", "cbam", "grn_l1_standardise"])
def test_what_follows_any_response_is_the_block_s_output(response, images):
    backbone = make_backbone(response)
    block = backbone.get_layer("stage0_block0")
    before = keras.ops.convert_to_numpy(backbone.get_layer("stem")(images))
    found = BlockFeatures(backbone, [block.name])(images)[block.name]
    projected = found @ value(block.project.kernel) + value(block.project.bias)
    output = BlockFeatures(backbone, [block.name], "output")(images)[block.name]
    np.testing.assert_allclose(before + projected, output, **TOLERANCE)
