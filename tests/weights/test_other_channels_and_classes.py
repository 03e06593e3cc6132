"""`from_preset` for images of other channels, other classes, and without a head."""

import numpy as np
import pytest

import keras_convnextv2 as kc
from tests.reference.compute import compute
from tests.reference.layouts import custom_layout, random_checkpoint
from tests.reference.random_weights import named_weights, randomize

DEPTHS, WIDTHS = (1, 1, 2, 1), (4, 6, 8, 12)
STEM = "downsample_layers.0.0.weight"  # (filters, channels, height, width)


def stem_kernel(model):
    return named_weights(model)["stem/conv/kernel"]


@pytest.mark.one_backend
def test_one_channel_gets_the_sum(checkpoint, save, rng):
    grey = kc.from_preset(save(checkpoint), channels=1)
    theirs = checkpoint[STEM].sum(axis=1)[:, None]  # timm: conv_weight.sum(dim=1, keepdim=True)
    # Float32 sums of three.
    np.testing.assert_allclose(stem_kernel(grey), theirs.transpose(2, 3, 1, 0), atol=1e-6)
    colour = kc.from_preset(save(checkpoint))
    images = rng.normal(size=(2, 64, 32, 1)).astype("float32")
    logits = compute(colour, images.repeat(3, axis=3))
    np.testing.assert_allclose(compute(grey, images), logits, rtol=1e-4, atol=1e-4 * logits.std())


@pytest.mark.one_backend
@pytest.mark.parametrize("channels", [2, 4, 13])
def test_other_channels_are_repeated_and_scaled_as_timm_does(checkpoint, save, channels):
    model = kc.from_preset(save(checkpoint), channels=channels)
    # timm: conv_weight.repeat(1, ceil(n / 3), 1, 1)[:, :n] * (3 / n)
    repeated = np.tile(checkpoint[STEM], (1, -(-channels // 3), 1, 1))[:, :channels]
    theirs = repeated * np.float32(3 / channels)
    np.testing.assert_allclose(stem_kernel(model), theirs.transpose(2, 3, 1, 0), rtol=1e-6)
    assert model.backbone.image_shape == (None, None, channels)


@pytest.mark.one_backend
def test_weights_of_other_channels_than_three_are_repeated_too(tmp_path, rng):
    backbone = kc.ConvNeXtV2Backbone(kc.Variant(DEPTHS, WIDTHS), (32, 32, 2))
    randomize(backbone, rng)
    kc.save_weights(backbone, tmp_path / "two.safetensors")
    kernel = stem_kernel(kc.from_preset(tmp_path / "two.safetensors", channels=3))
    expected = stem_kernel(backbone)[:, :, [0, 1, 0]] * np.float32(2 / 3)
    np.testing.assert_allclose(kernel, expected, rtol=1e-6)


@pytest.mark.one_backend
def test_the_normalisation_of_other_channels_is_not_known(tmp_path, rng):
    backbone = kc.ConvNeXtV2Backbone(kc.Variant(DEPTHS, WIDTHS), (32, 64, 3))
    backbone.normalisation, backbone.licence = ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), "mit"
    kc.save_weights(backbone, tmp_path / "file.safetensors")
    same, other = (kc.from_preset(tmp_path / "file.safetensors", channels=n) for n in (3, 4))
    assert same.normalisation == backbone.normalisation and other.normalisation is None
    assert other.licence == "mit" and other.training_image_size == (32, 64)


@pytest.mark.one_backend
def test_other_classes_get_a_new_head(checkpoint, save):
    model = kc.from_preset(save(checkpoint), num_classes=7)
    assert (model.num_classes, model.class_names) == (7, None)
    loaded = named_weights(model)
    assert loaded["head/kernel"].shape == (12, 7)
    assert 0 < np.abs(loaded["head/kernel"]).max() < 1e-3  # new: it starts small
    np.testing.assert_array_equal(loaded["norm/gamma"], checkpoint["norm.weight"])
    np.testing.assert_array_equal(
        loaded["stage2_block1/project/bias"], checkpoint["stages.2.1.pwconv2.bias"]
    )


@pytest.mark.one_backend
def test_as_many_classes_keep_the_head(checkpoint, save):
    loaded = named_weights(kc.from_preset(save(checkpoint), num_classes=1000))
    np.testing.assert_array_equal(loaded["head/kernel"], checkpoint["head.weight"].T)


@pytest.mark.one_backend
@pytest.mark.parametrize("with_norm", [True, False])
def test_weights_without_a_head_get_one(checkpoint, save, with_norm, recwarn):
    for key in ("head.weight", "head.bias", *(() if with_norm else ("norm.weight", "norm.bias"))):
        del checkpoint[key]
    model = kc.from_preset(save(checkpoint), channels=2, num_classes=5)
    gamma = checkpoint["norm.weight"] if with_norm else np.ones(12)
    np.testing.assert_array_equal(named_weights(model)["norm/gamma"], gamma)
    assert model.output_shape == (None, 5)
    assert not [w for w in recwarn if w.category is UserWarning]


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("prefix", "own_head"),
    [("backbone.", "classifier"), ("0.model.", "1.4"), ("", "head_of_mine")],
)
def test_the_backbone_beside_somebody_s_own_head(checkpoint, save, prefix, own_head):
    theirs = {f"{prefix}{key}": value for key, value in checkpoint.items() if "head" not in key}
    theirs[f"{own_head}.weight"] = np.ones((3, 12), "float32")
    with pytest.raises(kc.WeightsError, match=f"1 unexpected: {own_head}.weight.*head=False"):
        kc.from_preset(save(theirs))
    with pytest.warns(UserWarning, match=f"left out are {own_head}.weight"):
        backbone = kc.from_preset(save(theirs), head=False)
    assert isinstance(backbone, kc.ConvNeXtV2Backbone)
    bias = named_weights(backbone)["stage2_block1/project/bias"]
    np.testing.assert_array_equal(bias, checkpoint["stages.2.1.pwconv2.bias"])


@pytest.mark.one_backend
def test_a_known_head_is_left_out_without_a_word(checkpoint, save, recwarn):
    assert isinstance(kc.from_preset(save(checkpoint), head=False), kc.ConvNeXtV2Backbone)
    assert not recwarn.list


@pytest.mark.one_backend
def test_without_a_head_the_backbone_must_be_whole_all_the_same(checkpoint, save):
    del checkpoint["stages.2.1.pwconv2.bias"]
    with pytest.raises(kc.WeightsError, match="1 missing: stage2_block1/project/bias"):
        kc.from_preset(save(checkpoint), head=False)


@pytest.mark.one_backend
def test_what_spark_of_mmpretrain_leaves_beside_a_backbone(save, rng, recwarn):
    theirs = random_checkpoint(custom_layout("mmpretrain", DEPTHS, WIDTHS), rng)
    theirs = {key: value for key, value in theirs.items() if not key.startswith("head.")}
    del theirs["backbone.norm3.weight"], theirs["backbone.norm3.bias"]
    beside = (
        "neck.proj.weight",
        "enc_dec_norms.0.weight",
        "enc_dec_projectors.1.bias",
        "mask_tokens.3",
        "data_preprocessor.mean",
        *(f"backbone.norm{stage}.weight" for stage in range(3)),
    )
    path = save(theirs | dict.fromkeys(beside, np.ones(3, "float32")))
    backbone = kc.from_preset(path)
    report = kc.load_weights(backbone, path)
    assert report.num_loaded == len(theirs) and report.left_out == () and not recwarn.list
    with pytest.raises(kc.WeightsError, match="1 unexpected: necklace.weight"):
        kc.from_preset(save(theirs | {"necklace.weight": np.ones(3, "float32")}))


@pytest.mark.one_backend
@pytest.mark.parametrize("size", [(64, 32), (70, 101)])
def test_a_model_takes_images_of_any_size(checkpoint, save, size, rng):
    path = save(checkpoint)
    images = rng.normal(size=(2, *size, 3)).astype("float32")
    logits = compute(kc.from_preset(path), images)
    of_size = compute(kc.from_preset(path, image_size=size), images)
    np.testing.assert_allclose(logits, of_size, rtol=1e-5, atol=1e-5)  # two programs


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0}, "`channels` must be a positive int. Received: 0"),
        ({"num_classes": 2.0}, "`num_classes` must be a positive int. Received: 2.0"),
        ({"num_classes": 2, "head": False}, "`head=False` is a backbone.*num_classes=2"),
    ],
)
def test_arguments_that_cannot_be(checkpoint, save, arguments, message):
    with pytest.raises(ValueError, match=message):
        kc.from_preset(save(checkpoint), **arguments)
