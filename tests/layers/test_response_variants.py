"""Each response against NumPy loops over what is visible, under each region."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.layers import responses
from keras_convnextv2.layers.regions import MaskedMap, VisibleStrip, WholeMap
from keras_convnextv2.layers.response_variants.batch_normalization import MaskedBatchNormalization
from keras_convnextv2.layers.response_variants.response_normalization import (
    ResponseNormalization,
    named_options,
)
from keras_convnextv2.models.named_variables import named_variables
from tests.reference import responses as reference
from tests.reference.compute import compute
from tests.reference.gradients import gradients_of
from tests.reference.random_weights import randomize
from tests.reference.sparse_block import visible_positions

GRN = dict(named_options())
OTHERS = ("none", "lrn", "bn", "ln", "se", "cbam")
# Those that look at one position alone, or differ from another in arithmetic, on one backend.
SOME = [
    *("bn", "se", "cbam", "grn_l1_standardise"),
    *(
        pytest.param(name, marks=pytest.mark.one_backend)
        for name in ("none", "lrn", "ln", "grn_average_sum_no_residual", "grn_inverse_sum")
    ),
]
SHAPE = (3, 8, 12, 32)  # patches of 4 x 4, which a strip convolves by windows
EVEN = np.array([[[1, 0, 1], [0, 1, 1]], [[0, 1, 1], [1, 1, 0]], [[1, 1, 0], [1, 0, 1]]], "int32")
# Of different numbers; the last image has nothing visible.
UNEVEN = np.array([[[1, 0, 0], [0, 1, 1]], [[0, 1, 1], [1, 1, 1]], [[1, 1, 1], [1, 1, 1]]], "int32")
REGIONS = {
    "whole map": (WholeMap, np.zeros_like(EVEN)),
    "masked map": (lambda: MaskedMap(UNEVEN), UNEVEN),
    "visible strip": (lambda: VisibleStrip(keras.ops.convert_to_tensor(EVEN), 2), EVEN),
}


def make(name, rng, shape=SHAPE):
    layer = responses.make(name, name="response_norm")
    layer.build(shape)
    randomize(layer, rng)
    if name == "bn":
        layer.moving_mean.assign(rng.normal(size=shape[-1]))
        layer.moving_variance.assign(rng.uniform(0.5, 2, size=shape[-1]))
    return layer


def weights_of(layer):
    return {
        weight.name.partition("/")[2]: keras.ops.convert_to_numpy(variable).astype("float64")
        for weight, variable in named_variables(layer)
    }


def features(rng):
    # Channels of different sizes, mostly above 0, so that their average is no small difference.
    x = rng.normal(size=SHAPE) + 0.7
    return (x * np.linspace(0.3, 2, SHAPE[-1])).astype("float32")


@pytest.mark.parametrize("kind", REGIONS)
def test_each_is_what_loops_over_visible_positions_give(rng, kind):
    make_region, hidden = REGIONS[kind]
    x = features(rng)
    layers = {name: make(name, rng) for name in (*GRN, *OTHERS)}
    weights = {name: weights_of(layer) for name, layer in layers.items()}

    def outputs(x):
        region = make_region()
        inside = region.enter(x)
        region = region.at(inside)
        found = {name: layer(inside, region=region) for name, layer in layers.items()}
        found["bn in training"] = layers["bn"](inside, region=region, training=True)
        return {name: region.to_map(y) for name, y in found.items()}

    found = compute(outputs, x)
    batch = [visible_positions(*pair) for pair in zip(x, hidden, strict=True)]
    weights["bn in training"] = weights["bn"]
    for name, maps in found.items():
        of_family = "grn" if name in GRN else name.partition(" ")[0]
        expected = reference.response(
            of_family, GRN.get(name, {}), weights[name], batch, "training" in name
        )
        for image, positions in zip(maps, expected, strict=True):
            # Float32, values to about 20; a divisor that is a sum over 32 channels.
            for position, vector in positions.items():
                np.testing.assert_allclose(
                    image[position], vector, rtol=2e-5, atol=2e-5, err_msg=name
                )


def test_grn_by_parts_is_grn(rng):
    x = features(rng)
    layers = [ResponseNormalization(), kc.GlobalResponseNormalization()]
    for layer in layers:
        layer.build(SHAPE)
        layer.gamma.assign(np.linspace(-1, 1, SHAPE[-1]))
        layer.beta.assign(np.linspace(1, 2, SHAPE[-1]))
    ours, grn = (compute(lambda x, layer=layer: layer(x, MaskedMap(UNEVEN)), x) for layer in layers)
    np.testing.assert_array_equal(ours, grn)  # equal operations on equal numbers


@pytest.mark.one_backend
@pytest.mark.parametrize("name", [name for name in GRN if "no_affine" not in name])
def test_with_the_residual_it_begins_as_the_identity_and_without_as_the_response(name, rng):
    layer = responses.make(name)
    x = features(rng)
    y = keras.ops.convert_to_numpy(layer(x))
    bare = responses.make(f"{name}_no_affine")
    expected = x if GRN[name]["residual"] else keras.ops.convert_to_numpy(bare(x))
    np.testing.assert_array_equal(y, expected)  # times 1 and plus 0 are exact


@pytest.mark.parametrize("kind", ["masked map", "visible strip"])
def test_moving_averages_are_those_of_visible_positions(rng, kind):
    make_region, hidden = REGIONS[kind]
    x = features(rng)
    layer = MaskedBatchNormalization(momentum=0.8)
    layer.build(SHAPE)
    region = make_region()
    inside = region.enter(keras.ops.convert_to_tensor(x))
    layer(inside, region=region.at(inside), training=True)
    batch = [visible_positions(*pair) for pair in zip(x, hidden, strict=True)]
    found = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    for one, other in zip(found, reference.moving_averages(batch, 0.8), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)  # float32 sums

    before = [np.array(weight) for weight in layer.get_weights()]
    layer(inside, region=region.at(inside))
    nothing = MaskedMap(np.ones_like(UNEVEN))
    y = keras.ops.convert_to_numpy(layer(x, region=nothing, training=True))
    assert np.isfinite(y).all()
    for one, other in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", SOME)
def test_a_block_is_equal_on_both_paths_and_its_gradients_are_finite(name, rng):
    block = kc.ConvNeXtV2Block(4, spec=kc.BlockSpec(name))
    shape = (3, 8, 12, 4)
    block.build(shape)
    randomize(block, rng)
    values = rng.normal(size=shape).astype("float32")
    values[0, :4, :4] = 0.0
    x = keras.Variable(values)
    visible = np.kron(1 - EVEN, np.ones((1, 4, 4)))[..., None].astype("float32")
    upstream = keras.ops.convert_to_tensor((rng.normal(size=shape) * visible).astype("float32"))

    def on_visible_patches():
        region = VisibleStrip(keras.ops.convert_to_tensor(EVEN), 2)
        inside = region.enter(x.value)
        return region.to_map(block(inside, region.at(inside), training=True))

    def on_the_map():
        return block(x.value, MaskedMap(EVEN), training=True)

    start = [np.array(weight) for weight in block.get_weights()]
    results = []
    for function in (on_visible_patches, on_the_map):
        block.set_weights(start)
        gradients = gradients_of(
            lambda function=function: keras.ops.sum(function() * upstream),
            [x, *block.trainable_weights],
        )
        output = keras.ops.convert_to_numpy(function()) * visible
        results.append([output, *gradients, *block.get_weights()])
    for one, other in zip(*results, strict=True):
        assert np.isfinite(other).all()
        # Float32 sums in another order.
        assert np.linalg.norm(one - other) <= 1e-5 * np.linalg.norm(other)


@pytest.mark.parametrize("name", ["grn_l1_standardise", "bn", "cbam"])
def test_silent_channels_and_an_image_that_is_hidden_have_finite_gradients(name, rng):
    layer = make(name, rng)
    values = features(rng)
    values[..., 1] = 0.0
    values[1] = 0.0
    x = keras.Variable(values)
    gradients = gradients_of(
        lambda: (
            keras.ops.sum(keras.ops.square(layer(x.value, MaskedMap(UNEVEN), training=True)))
            if name == "bn"
            else keras.ops.sum(keras.ops.square(layer(x.value, MaskedMap(UNEVEN))))
        ),
        [x, *layer.trainable_weights],
    )
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert np.abs(gradients[0]).max() > 0


def test_batch_norm_in_a_model_counts_in_training_alone(rng):
    variant = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12), kc.BlockSpec("bn"))
    fcmae = kc.FCMAE(kc.ConvNeXtV2Backbone(variant, (16, 24, 3), stem_stride=1), decoder_width=8)
    images = rng.normal(size=(4, 16, 24, 3)).astype("float32")
    fcmae.compile(optimizer=keras.optimizers.SGD(0.01))
    layers = [fcmae.backbone.get_layer(f"stage{stage}_block0").response for stage in range(4)]

    def averages():
        return [layer.moving_variance.numpy() for layer in layers]

    fcmae.evaluate(images, verbose=0)
    assert all((average == 1).all() for average in averages())
    fcmae.fit(images, batch_size=4, epochs=2, verbose=0)
    counted = averages()
    assert all((average != 1).all() for average in counted)
    fcmae.evaluate(images, verbose=0)
    for one, other in zip(counted, averages(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.one_backend
@pytest.mark.parametrize("name", [*OTHERS, "grn_average_sum_no_residual_no_affine"])
def test_each_is_saved_and_loaded_by_its_name(name, rng, tmp_path):
    variant = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12), kc.BlockSpec(name))
    backbone = kc.ConvNeXtV2Backbone(variant, (16, 24, 3), stem_stride=1)
    for weight in backbone.weights:  # moving averages too, which must not be below 0
        weight.assign(rng.uniform(0.1, 0.5, size=weight.shape))
    images = rng.normal(size=(2, 16, 24, 3)).astype("float32")
    for path in (tmp_path / "model.keras", tmp_path / "model.safetensors"):
        kc.save_weights(backbone, path)
        copy = kc.from_preset(path, image_size=(16, 24))
        assert copy.variant == variant
        np.testing.assert_array_equal(compute(copy, images), compute(backbone, images))
    clone = keras.models.clone_model(backbone)
    assert type(clone.get_layer("stage3_block0").response) is type(responses.make(name))


@pytest.mark.one_backend
def test_what_float16_cannot_hold_saturates():
    layer = responses.make("grn_l1_no_residual", dtype="mixed_float16")
    layer.build((1, 2, 2, 2))
    layer.gamma.assign([9.0, -9.0])
    y = keras.ops.convert_to_numpy(layer(np.full((1, 2, 2, 2), 3e4, "float16")))
    assert (y[..., 0] == 65504).all() and (y[..., 1] == -65504).all()


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("make_wrong", "message"),
    [
        (lambda: ResponseNormalization("l3"), "`aggregation` must be one of average, l1, l2"),
        (lambda: ResponseNormalization(normalisation="max"), "`normalisation` must be one of mean"),
        (lambda: ResponseNormalization(epsilon=0), "`epsilon` must be positive. Received: 0"),
        (lambda: MaskedBatchNormalization(1.0), r"`momentum` must be in \[0, 1\). Received: 1.0"),
        (
            lambda: responses.register("grn_l1", affine=False)(ResponseNormalization),
            "'grn_l1' is ResponseNormalization",
        ),
        (lambda: responses.make("grn_l3"), r"grn, none, lrn.*grn\[_l1\|_average\].*'grn_l3'"),
    ],
)
def test_what_is_none_is_refused(make_wrong, message):
    with pytest.raises(ValueError, match=message):
        make_wrong()
