"""The decoders that FCMAE knows by name."""

import math

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.fcmae import decoders
from keras_convnextv2.fcmae.attention_block import AttentionBlock
from keras_convnextv2.fcmae.hierarchical_decoder import HierarchicalDecoder
from keras_convnextv2.fcmae.transformer_decoder import TransformerDecoder, sines_and_cosines
from keras_convnextv2.fcmae.unet_decoder import UNetDecoder
from keras_convnextv2.layers.regions import MaskedMap, VisibleStrip
from tests.reference.compute import compute
from tests.reference.gradients import gradients_and_results
from tests.reference.random_weights import randomize

NAMES = ("block", "unet", "unet_without_skips", "hierarchical", "transformer")
# They read what the paper's decoder reads, whose paths other tests compare on each backend.
LAST_STAGE_ALONE = [
    pytest.param(name, marks=pytest.mark.one_backend)
    for name in ("unet_without_skips", "transformer")
]
SIDES = {"unet": 1, "unet_without_skips": 1, "hierarchical": 1}  # S, of a position's square
WIDTHS, IMAGE_SHAPE, TOTAL_STRIDE = (4, 6, 8, 12), (16, 24, 3), 8
SHAPES = [(3, 16 >> stage, 24 >> stage, width) for stage, width in enumerate(WIDTHS)]
HIDDEN = np.array([[[1, 0, 1], [0, 1, 1]], [[0, 1, 1], [1, 1, 0]], [[1, 1, 0], [1, 0, 1]]], "int32")


def make_decoder(name, rng, **options):
    options = {"width": 16, "depth": 1, **options}
    decoder = decoders.make(name, total_stride=TOTAL_STRIDE, channels=3, name="decoder", **options)
    decoder.build([(None, *shape[1:]) for shape in SHAPES])
    randomize(decoder, rng)
    return decoder


def make_fcmae(name, **options):
    backbone = kc.ConvNeXtV2Backbone(
        kc.Variant((1, 1, 1, 1), WIDTHS), IMAGE_SHAPE, stem_stride=1, seed=0
    )
    return kc.FCMAE(backbone, decoder=name, decoder_width=16, **options)


def spread(hidden, side):
    return hidden.repeat(side, axis=1).repeat(side, axis=2)[..., None]


@pytest.mark.parametrize("name", ["unet", "hierarchical", *LAST_STAGE_ALONE])
def test_visible_patches_give_what_the_maps_give(name, rng):
    # Narrower, a UNet ends in norms over two channels, which enlarge rounding by thousands.
    decoder = make_decoder(name, rng, width=32)
    maps = [keras.Variable(rng.normal(size=shape).astype("float32")) for shape in SHAPES]
    side = SIDES.get(name, TOTAL_STRIDE)
    shape = (3, 16 // side, 24 // side, side * side * 3)
    upstream = keras.ops.convert_to_tensor(rng.normal(size=shape).astype("float32"))
    in_training = {"training": True} if name == "hierarchical" else {}

    def on_visible_patches():
        region = VisibleStrip(keras.ops.convert_to_tensor(HIDDEN), 2)
        features = [region.enter(x.value) for x in maps]
        return decoder(features, region=region.at(features[-1]), **in_training)

    def on_the_maps():
        features = [x.value for x in maps]
        return decoder(features, region=MaskedMap(HIDDEN).at(features[-1]), **in_training)

    results = []
    for function in (on_visible_patches, on_the_maps):

        def total(function=function):
            output = function()
            return keras.ops.sum(output * upstream), output

        read = maps if name in ("unet", "hierarchical") else maps[-1:]
        gradients, output = gradients_and_results(total, [*read, *decoder.trainable_weights])
        assert output.shape == shape
        results.append([output, *gradients])
    for one, other in zip(*results, strict=True):
        # Float32 sums in another order; batch norms divide by small deviations.
        assert np.linalg.norm(one - other) <= 5e-5 * np.linalg.norm(other)
    for x, gradient in zip(read, results[0][1:], strict=False):
        hidden = np.broadcast_to(spread(HIDDEN, x.shape[1] // 2) == 1, gradient.shape)
        assert (gradient[hidden] == 0).all() and (gradient[~hidden] != 0).any()


@pytest.mark.parametrize(
    "name",
    [
        "hierarchical",
        *(
            pytest.param(name, marks=pytest.mark.one_backend)
            for name in ("unet", "unet_without_skips", "transformer")
        ),
    ],
)
def test_it_trains_is_saved_and_sees_no_hidden_pixel(name, rng, tmp_path):
    fcmae = make_fcmae(name)
    randomize(fcmae, rng)  # as they begin, some gradients are lost in rounding
    images = rng.normal(size=(4, *IMAGE_SHAPE)).astype("float32")
    fcmae.compile(optimizer=keras.optimizers.SGD(0.01))
    before = [weight.numpy() for weight in fcmae.decoder.trainable_weights]
    losses = fcmae.fit(images, batch_size=4, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    for weight, value in zip(fcmae.decoder.trainable_weights, before, strict=True):
        assert (weight.numpy() != value).any(), weight.path

    outputs = compute(fcmae, images)
    assert outputs["prediction"].shape == (4, 2, 3, 8 * 8 * 3)
    pixels = spread(outputs["hidden"], TOTAL_STRIDE) == 1
    changed = np.where(pixels, np.float32(np.nan), images)
    np.testing.assert_array_equal(compute(fcmae, changed)["prediction"], outputs["prediction"])
    changed = np.where(pixels, images, images + 1).astype("float32")
    difference = np.abs(compute(fcmae, changed)["prediction"] - outputs["prediction"])
    assert difference[outputs["hidden"] == 1].max() > 0

    fcmae.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert copy.get_config()["decoder"] == name
    np.testing.assert_array_equal(compute(copy, images)["prediction"], outputs["prediction"])


@pytest.mark.one_backend
@pytest.mark.parametrize("name", NAMES)
def test_the_name_stands_for_the_layer_with_its_sizes(name):
    fcmae = make_fcmae(name, decoder_depth=2)
    assert (fcmae.decoder.width, fcmae.decoder.depth) == (16, 2)
    config = fcmae.get_config()
    assert config["decoder"] == (None if name == "block" else name)
    again = kc.FCMAE.from_config(config).decoder
    assert again.get_config() == fcmae.decoder.get_config()
    shapes = [(None, *shape[1:]) for shape in SHAPES]
    side = SIDES.get(name, TOTAL_STRIDE)
    expected = (None, 16 // side, 24 // side, side * side * 3)
    assert fcmae.decoder.compute_output_shape(shapes) == expected


@pytest.mark.one_backend
def test_weights_by_name_are_those_of_its_backbone(rng, tmp_path):
    fcmae = make_fcmae("unet")
    with pytest.raises(ValueError, match="paper's decoder alone.*UNetDecoder.*its `backbone`"):
        kc.save_weights(fcmae, tmp_path / "weights.safetensors")
    fcmae.save(tmp_path / "model.keras")
    images = rng.normal(size=(2, *IMAGE_SHAPE)).astype("float32")
    backbone = kc.from_preset(tmp_path / "model.keras")
    np.testing.assert_array_equal(compute(backbone, images), compute(fcmae.backbone, images))


@pytest.mark.one_backend
def test_a_larger_stem_is_enlarged_to_pixels():
    for stem_stride, name in ((2, "hierarchical"), (4, "hierarchical"), (4, "unet")):
        backbone = kc.ConvNeXtV2Backbone(
            kc.Variant((1, 1, 1, 1), WIDTHS), (64, 96, 1), stem_stride=stem_stride
        )
        fcmae = kc.FCMAE(backbone, decoder=name, decoder_width=32)
        images = np.ones((1, 64, 96, 1), "float32")
        side = 8 * stem_stride
        prediction = fcmae(images)["prediction"]
        assert tuple(prediction.shape) == (1, 64 // side, 96 // side, side * side)


@pytest.mark.one_backend
def test_the_hierarchical_decoder_is_spark_s_arithmetic(rng):
    import torch
    import torch.nn.functional as F

    decoder = make_decoder("hierarchical", rng)
    for norm in decoder.batch_norms:
        norm.moving_mean.assign(rng.normal(size=norm.moving_mean.shape))
        norm.moving_variance.assign(rng.uniform(0.5, 2, size=norm.moving_mean.shape))
    maps = [rng.normal(size=shape).astype("float32") for shape in SHAPES]

    def tensor(weight):
        return torch.tensor(keras.ops.convert_to_numpy(weight))

    def convolved(x, layer, padding):
        bias = tensor(layer.bias) if layer.use_bias else None
        return F.conv2d(x, tensor(layer.kernel).permute(3, 2, 0, 1), bias, padding=padding)

    x = 0
    for level in range(4):  # from the smallest map to the largest
        stage = torch.tensor(maps[3 - level])
        norm, token = decoder.norms[level], tensor(decoder.tokens[level])
        stage = F.layer_norm(stage, stage.shape[-1:], tensor(norm.gamma), tensor(norm.beta), 1e-6)
        hidden = torch.tensor(spread(HIDDEN, stage.shape[1] // 2) == 1)
        stage = torch.where(hidden, token, stage).permute(0, 3, 1, 2)
        x = x + convolved(stage, decoder.projections[level], 1 if level else 0)
        if level == 3:
            break
        enlarge = decoder.enlarge[level]
        kernel = tensor(enlarge.kernel).permute(3, 2, 0, 1)
        x = F.conv_transpose2d(x, kernel, tensor(enlarge.bias), stride=2, padding=1)
        for place in (2 * level, 2 * level + 1):
            x = convolved(x, decoder.convolutions[place], 1)
            norm = decoder.batch_norms[place]
            statistics = tensor(norm.moving_mean), tensor(norm.moving_variance)
            x = F.batch_norm(x, *statistics, tensor(norm.gamma), tensor(norm.beta), eps=1e-5)
            x = x if place % 2 else F.relu6(x)
    expected = convolved(x, decoder.predict_pixels, 0).permute(0, 2, 3, 1)
    found = compute(lambda: decoder(maps, region=MaskedMap(HIDDEN)))
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-4)  # float32, near 10


@pytest.mark.one_backend
@pytest.mark.parametrize("width", [12, 64])
def test_attention_is_what_loops_over_positions_give(width, rng):
    block = AttentionBlock(width)
    block.build((None, 2, 3, width))
    randomize(block, rng)
    x = rng.normal(size=(2, 2, 3, width))
    weights = {weight.path: keras.ops.convert_to_numpy(weight) for weight in block.weights}

    def of(layer, name):
        (path,) = [path for path in weights if path.endswith(f"/{layer}/{name}")]
        return weights[path].astype("float64")

    def linear(layer, y):
        return y @ of(layer, "kernel") + of(layer, "bias")

    def norm(layer, y):
        centred = y - y.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return centred / deviation * of(layer, "gamma") + of(layer, "beta")

    gelu = np.vectorize(lambda value: 0.5 * value * (1 + math.erf(value / math.sqrt(2))))
    expected = []
    for image in x.reshape(2, 6, width):
        three = np.split(linear("queries_keys_values", norm("attention_norm", image)), 3, axis=-1)
        attended = np.zeros((6, width))
        heads = max(width // 32, 1)
        for head in np.split(np.arange(width), heads):
            queries, keys, values = (part[:, head] for part in three)
            for place in range(6):
                scores = keys @ queries[place] / math.sqrt(len(head))
                shares = np.exp(scores) / np.exp(scores).sum()
                attended[place, head] = shares @ values
        image = image + linear("attention_project", attended)
        expected.append(image + linear("project", gelu(linear("expand", norm("norm", image)))))
    found = compute(block, x.astype("float32")).reshape(2, 6, width)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)  # float32, values near 5


@pytest.mark.one_backend
def test_each_position_has_its_own_embedding():
    places = sines_and_cosines(3, 5, 8)
    assert places.shape == (3, 5, 8)
    for row in range(3):
        for column in range(5):
            expected = [
                function(place * frequency)
                for place in (column, row)
                for function in (math.sin, math.cos)
                for frequency in (1.0, 0.01)
            ]
            np.testing.assert_allclose(places[row, column], expected, atol=1e-6)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("make_wrong", "message"),
    [
        (lambda: make_fcmae("u-net"), "`decoder` must be one of block, unet, .*Received: 'u-net'"),
        (lambda: UNetDecoder(8, 3, width=12), "width of this decoder must be a multiple of 8"),
        (lambda: HierarchicalDecoder(32, 3, width=48), "multiple of 32. Received: 48"),
        (lambda: HierarchicalDecoder(24, 3), "`total_stride` must be a power of 2. Received: 24"),
        (lambda: TransformerDecoder(8, 3, width=72), "multiple of 32, or less than 64"),
        (lambda: TransformerDecoder(8, 3, depth=0), "depth must be a positive int. Received: 0"),
        (
            lambda: decoders.register("unet", skips=False)(UNetDecoder),
            "decoder 'unet' is UNetDecoder of {} already",
        ),
        (lambda: decoders.register("block")(UNetDecoder), "decoder 'block' is _paper_decoder"),
    ],
)
def test_what_cannot_be_is_refused(make_wrong, message):
    with pytest.raises(ValueError, match=message):
        make_wrong()
