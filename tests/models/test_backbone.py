import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from tests.reference.compute import compute
from tests.reference.random_weights import randomize

SIZES = kc.Variant((1, 1, 2, 1), (4, 6, 8, 12))


def blocks_of(backbone):
    return [layer for layer in backbone.layers if isinstance(layer, kc.ConvNeXtV2Block)]


@pytest.mark.usefixtures("without_weights")
def test_layers_are_named_after_their_stage_and_place():
    backbone = kc.ConvNeXtV2Backbone(SIZES, (32, 64, 3))
    assert [layer.name for layer in backbone.layers] == [
        "images",
        "stem",
        "stage0_block0",
        "stage1_downsample",
        "stage1_block0",
        "stage2_downsample",
        "stage2_block0",
        "stage2_block1",
        "stage3_downsample",
        "stage3_block0",
    ]


@pytest.mark.parametrize("stem_stride, first_level", [(4, 2), (2, 1), (1, 0)])
@pytest.mark.usefixtures("without_weights")
def test_pyramid_outputs_are_named_by_the_log_of_their_stride(stem_stride, first_level):
    backbone = kc.ConvNeXtV2Backbone(SIZES, (64, 96, 3), stem_stride=stem_stride)
    assert backbone.total_stride == 8 * stem_stride
    shapes = {name: tuple(output.shape) for name, output in backbone.pyramid_outputs.items()}
    assert shapes == {
        f"P{level}": (None, 64 // 2**level, 96 // 2**level, width)
        for level, width in enumerate(SIZES.widths, first_level)
    }
    assert tuple(backbone.output.shape) == shapes[f"P{first_level + 3}"]


def test_pyramid_outputs_are_those_of_encode(rng):
    backbone = kc.ConvNeXtV2Backbone(SIZES, (16, 24, 3), stem_stride=1)
    randomize(backbone, rng)
    images = rng.normal(size=(2, 16, 24, 3)).astype("float32")
    pyramid = keras.Model(backbone.input, list(backbone.pyramid_outputs.values()))
    for output, feature in zip(
        compute(pyramid, images), compute(backbone.encode, images), strict=True
    ):
        # Two programs: float32 sums in another order.
        np.testing.assert_allclose(output, feature, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "stem_stride, size, output_size", [(4, (70, 45), (2, 1)), (1, (21, 13), (2, 1))]
)
def test_a_size_that_is_no_multiple_of_the_stride_is_cut(rng, stem_stride, size, output_size):
    images = rng.normal(size=(2, *size, 5)).astype("float32")
    known, unknown = (
        kc.ConvNeXtV2Backbone(SIZES, (*shape, 5), stem_stride=stem_stride)
        for shape in (size, (None, None))
    )
    randomize(known, rng)
    unknown.set_weights(known.get_weights())
    y = compute(known, images)
    assert y.shape == (2, *output_size, 12) and np.isfinite(y).all()
    # The same operations on the same numbers.
    np.testing.assert_array_equal(y, compute(unknown, images))


@pytest.mark.usefixtures("without_weights")
def test_one_side_of_the_images_may_be_unknown():
    backbone = kc.ConvNeXtV2Backbone(SIZES, (None, 64, 1))
    assert tuple(backbone.output.shape) == (None, None, 2, 12)
    assert tuple(backbone.input.shape) == (None, None, 64, 1)


@pytest.mark.usefixtures("without_weights")
def test_drop_path_rates_grow_linearly_over_all_blocks():
    backbone = kc.ConvNeXtV2Backbone(SIZES, (32, 64, 3), drop_path_rate=0.4)
    rates = [block.drop_path_rate for block in blocks_of(backbone)]
    np.testing.assert_allclose(rates, [0.0, 0.1, 0.2, 0.3, 0.4], rtol=1e-12)
    assert [block.stochastic_depth.rate for block in blocks_of(backbone)] == rates


def test_drop_path_works_in_training_only(rng):
    backbone = kc.ConvNeXtV2Backbone(SIZES, (8, 16, 3), stem_stride=1, drop_path_rate=0.5, seed=0)
    randomize(backbone, rng)
    images = np.repeat(rng.normal(size=(1, 8, 16, 3)).astype("float32"), 12, axis=0)
    trained, inferred = (compute(backbone, images, training=training) for training in (True, False))
    assert np.ptp(trained, axis=0).max() > 0.1  # equal images were dropped differently
    # Equal images of a batch; their place in it may change an instruction's rounding.
    np.testing.assert_allclose(inferred, inferred[:1].repeat(12, axis=0), atol=1e-5)


def test_initial_weights_are_normal_with_std_02_and_identity_norms():
    backbone = kc.ConvNeXtV2Backbone(kc.Variant((1, 1, 1, 1), (8, 16, 32, 64)), (32, 32, 3))
    kernels = [w.numpy().ravel() for w in backbone.weights if w.name == "kernel"]
    values = np.concatenate(kernels)
    # Standard error of a deviation: 1 / sqrt(2 n), five of them.
    assert abs(values.std() / 0.02 - 1) < 5 / np.sqrt(2 * values.size)
    # 4.55 % of a normal lie beyond two deviations: nothing is truncated there.
    assert abs((abs(values) > 0.04).mean() - 0.0455) < 5 * np.sqrt(0.0455 / values.size)
    for weight in backbone.weights:
        if weight.name == "kernel":
            continue
        is_scale = weight.name == "gamma" and "response_norm" not in weight.path
        assert (weight.numpy() == (1.0 if is_scale else 0.0)).all(), weight.path


def test_a_backbone_rebuilt_from_its_config_is_equal(rng):
    arguments = {
        "variant": SIZES,
        "image_shape": (16, None, 2),
        "stem_stride": 2,
        "drop_path_rate": 0.4,
        "seed": 3,
        "dtype": "mixed_bfloat16",
        "name": "renamed",
        "trainable": False,
    }
    backbone = kc.ConvNeXtV2Backbone(**arguments)
    randomize(backbone, rng)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(backbone))
    attributes = {name: getattr(copy, name) for name in arguments if name != "dtype"}
    assert {**attributes, "dtype": copy.dtype_policy.name} == arguments
    copy.set_weights(backbone.get_weights())
    images = rng.normal(size=(6, 16, 32, 2)).astype("float32")
    one, other = (
        compute(lambda x, model=model: keras.ops.cast(model(x, training=True), "float32"), images)
        for model in (backbone, copy)
    )
    np.testing.assert_array_equal(one, other)  # equal programs, and equal seeds


@pytest.mark.usefixtures("without_weights")
def test_a_named_variant_stays_a_name_in_the_config():
    assert kc.ConvNeXtV2Backbone("atto", (32, 32, 3)).get_config()["variant"] == "atto"


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.usefixtures("without_weights")
def test_the_global_dtype_policy_is_followed(dtype):
    keras.config.set_dtype_policy(dtype)
    backbone = kc.ConvNeXtV2Backbone(SIZES, (32, 64, 3))
    assert {layer.compute_dtype for layer in blocks_of(backbone)} == {dtype.removeprefix("mixed_")}
    assert backbone.output.dtype == dtype.removeprefix("mixed_")


@pytest.mark.parametrize("stem_stride", [3, 0, "4"])
def test_another_stem_stride_is_refused(stem_stride):
    with pytest.raises(ValueError, match="`stem_stride` must be 4, 2 or 1. Received: "):
        kc.ConvNeXtV2Backbone(SIZES, stem_stride=stem_stride)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_drop_path_rate_outside_0_to_1_is_refused(rate):
    with pytest.raises(ValueError, match=f"`drop_path_rate` must be at least 0.*Received: {rate}"):
        kc.ConvNeXtV2Backbone(SIZES, drop_path_rate=rate)


@pytest.mark.parametrize(
    "shape", [(64, 64), (64, 64, None), (64, -64, 3), 64, (64.0, 64, 3), "64x64x3"]
)
def test_an_image_shape_that_is_none_is_refused(shape):
    with pytest.raises(ValueError, match=r"`image_shape` must be \(height, width, channels\).*"):
        kc.ConvNeXtV2Backbone(SIZES, shape)


def test_images_smaller_than_the_total_stride_are_refused_with_advice():
    with pytest.raises(
        ValueError, match=r"total stride, 32 pixels.*\(64, 28, 3\).*smaller `stem_stride`"
    ):
        kc.ConvNeXtV2Backbone(SIZES, (64, 28, 3))
