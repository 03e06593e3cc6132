"""What does not fit is an error that says what came and what to do, and changes nothing."""

import re

import numpy as np
import pytest
import safetensors.numpy

import keras_convnextv2 as kc
from tests.reference.layouts import custom_layout, random_checkpoint
from tests.reference.random_weights import named_weights, randomize

# What is loaded is computed with on each backend in test_round_trips.py.
pytestmark = pytest.mark.one_backend

DEPTHS, WIDTHS = (1, 1, 2, 1), (4, 6, 8, 12)


def make_backbone(depths=DEPTHS, widths=WIDTHS, channels=3):
    return kc.ConvNeXtV2Backbone(kc.Variant(depths, widths), (64, 96, channels))


def make_classifier(num_classes=1000, **options):
    return kc.ConvNeXtV2Classifier(make_backbone(), num_classes, **options)


def assert_refused(model, path, *parts, **options):
    """An error with these parts, and a model with the weights it had."""
    before = named_weights(model)
    with pytest.raises(kc.WeightsError) as caught:
        kc.load_weights(model, path, **options)
    for part in (path.name, *parts):
        assert part in str(caught.value)
    for name, value in named_weights(model).items():
        np.testing.assert_array_equal(value, before[name])


def test_all_is_loaded_without_a_word(checkpoint, save, recwarn):
    classifier = make_classifier()
    report = kc.load_weights(classifier, save(checkpoint))
    assert (report.format, report.num_loaded) == ("official", len(checkpoint))
    assert report.new == report.left_out == ()
    assert not recwarn.list
    kernel = classifier.backbone.get_layer("stage2_block1").expand.kernel.numpy()
    np.testing.assert_array_equal(kernel, checkpoint["stages.2.1.pwconv1.weight"].T)


def test_missing_weights_are_listed_and_counted(checkpoint, save):
    for key in [key for key in checkpoint if "stages.2.1.pw" in key or "stages.2.1.norm" in key]:
        del checkpoint[key]
    parts = (
        "6 missing: stage2_block1/norm/gamma (stages.2.1.norm.weight), ",
        "stage2_block1/expand/bias (stages.2.1.pwconv1.bias) and 2 more",
    )
    assert_refused(make_classifier(), save(checkpoint), *parts)


def test_keys_that_are_not_known_are_listed_and_counted(checkpoint, save):
    for index in range(5):
        checkpoint[f"stages.9.{index}.extra"] = np.zeros(3, "float32")
    parts = ("5 unexpected: stages.9.0.extra, ", "stages.9.3.extra and 1 more")
    assert_refused(make_classifier(), save(checkpoint), *parts)
    with pytest.warns(UserWarning, match="5 of the file left out: stages.9.0.extra"):
        report = kc.load_weights(make_classifier(), save(checkpoint), strict=False)
    assert len(report.left_out) == 5


@pytest.mark.parametrize("strict", [True, False])
def test_a_wrong_shape_is_an_error_even_if_not_strict(checkpoint, save, strict):
    checkpoint["stages.0.0.grn.gamma"] = np.zeros((1, 1, 1, 17), "float32")
    parts = ("1 of another shape: stages.0.0.grn.gamma is (1, 1, 1, 17), not (1, 1, 1, 16)",)
    assert_refused(make_classifier(), save(checkpoint), *parts, strict=strict)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_an_error_even_if_not_strict(
    checkpoint, save, strict, value
):
    checkpoint["head.weight"][3, 5] = value  # the last but one to be read
    parts = ("head.weight holds 1 of 12000 values that are not finite",)
    assert_refused(make_classifier(), save(checkpoint), *parts, strict=strict)


def test_another_size_is_named(checkpoint, save):
    model = make_backbone(depths=(1, 1, 1, 1))
    parts = ("holds depths 1,1,2,1, widths 4,6,8,12", "the model is depths 1,1,1,1", "from_preset")
    assert_refused(model, save(checkpoint), *parts)


def test_another_number_of_channels_is_named(checkpoint, save):
    model = make_backbone(channels=2)
    assert_refused(
        model, save(checkpoint), "the model is depths 1,1,2,1, widths 4,6,8,12, 2 channels"
    )


def test_a_head_of_other_classes_is_named_and_may_stay_new(checkpoint, save):
    model = make_classifier(7)
    parts = ("1000 classes", "7 classes", "With strict=False its head stays new")
    assert_refused(model, save(checkpoint), *parts)
    head = model.get_layer("head").kernel.numpy()
    with pytest.warns(UserWarning, match=r"2 stayed new \(head\): head/kernel"):
        report = kc.load_weights(model, save(checkpoint), strict=False)
    assert report.new == ("head/kernel", "head/bias")
    assert set(report.left_out) == {"head.weight", "head.bias"}
    norm = model.get_layer("norm").gamma.numpy()  # fits whatever the number of classes
    np.testing.assert_array_equal(norm, checkpoint["norm.weight"])
    np.testing.assert_array_equal(model.get_layer("head").kernel.numpy(), head)
    stem = model.backbone.get_layer("stem").layers[0].bias.numpy()
    np.testing.assert_array_equal(stem, checkpoint["downsample_layers.0.0.bias"])


def test_a_checkpoint_without_a_head(checkpoint, save):
    for key in ("norm.weight", "norm.bias", "head.weight", "head.bias"):
        del checkpoint[key]
    kc.load_weights(make_backbone(), save(checkpoint))
    parts = ("4 missing: norm/gamma", "no whole head; load_weights(strict=False) leaves")
    assert_refused(make_classifier(), save(checkpoint), *parts)
    with pytest.warns(UserWarning, match=r"4 stayed new \(head\)"):
        kc.load_weights(make_classifier(), save(checkpoint), strict=False)


def test_a_head_for_a_backbone(checkpoint, save):
    parts = ("4 unexpected: head.bias", "load_weights(strict=False) leaves its head out")
    assert_refused(make_backbone(), save(checkpoint), *parts)
    with pytest.warns(UserWarning, match="4 of the file left out: head.bias"):
        kc.load_weights(make_backbone(), save(checkpoint), strict=False)


def test_a_decoder_of_another_size(tmp_path, rng):
    saved = kc.FCMAE(make_backbone(), decoder_width=8)
    randomize(saved, rng)
    kc.save_weights(saved, tmp_path / "file.safetensors")
    other = kc.FCMAE(make_backbone(), decoder_width=8, decoder_depth=2)
    path = tmp_path / "file.safetensors"
    parts = ("width 8 and depth 1", "width 8 and depth 2", "With strict=False its decoder stays")
    assert_refused(other, path, *parts)
    token = other.decoder.mask_token.numpy()
    with pytest.warns(UserWarning, match=r"stayed new \(decoder\)"):
        kc.load_weights(other, path, strict=False)
    np.testing.assert_array_equal(other.decoder.mask_token.numpy(), token)


@pytest.mark.parametrize("strict", [True, False])
def test_a_backbone_is_never_loaded_in_part(checkpoint, save, strict):
    del checkpoint["stages.2.0.pwconv2.bias"]
    parts = ("1 missing: stage2_block0/project/bias",)
    assert_refused(make_classifier(), save(checkpoint), *parts, strict=strict)


def test_half_a_head_is_an_error(checkpoint, save):
    del checkpoint["head.bias"]
    with pytest.raises(kc.WeightsError, match="1 missing: head/bias .*no whole head"):
        kc.from_preset(save(checkpoint))


def test_a_norm_without_a_head_is_left_out_with_a_word(checkpoint, save):
    for key in ("head.weight", "head.bias"):
        del checkpoint[key]
    with pytest.warns(UserWarning, match="no head for its norm.bias, norm.weight, which are left"):
        assert isinstance(kc.from_preset(save(checkpoint)), kc.ConvNeXtV2Backbone)
    parts = ("2 unexpected: norm.bias, norm.weight", "leaves its head out")
    assert_refused(make_backbone(), save(checkpoint), *parts)


def test_counters_are_no_weights(checkpoint, save, recwarn):
    averaged = {f"module.{key}": array for key, array in checkpoint.items()}
    averaged["n_averaged"] = np.array(3)  # of torch's AveragedModel
    kc.load_weights(make_classifier(), save(averaged))
    kc.from_preset(save(averaged))
    assert not recwarn.list


def test_two_keys_of_one_weight_are_an_error(checkpoint, save):
    checkpoint["module.stages.0.0.dwconv.weight"] = checkpoint["stages.0.0.dwconv.weight"]
    assert_refused(make_classifier(), save(checkpoint), "holds 2 models")
    del checkpoint["module.stages.0.0.dwconv.weight"]
    checkpoint["module.stages.0.0.dwconv.bias"] = checkpoint["stages.0.0.dwconv.bias"]
    parts = ("1 unexpected: module.stages.0.0.dwconv.bias",)
    assert_refused(make_classifier(), save(checkpoint), *parts)


def test_integers_are_refused(checkpoint, save):
    checkpoint["head.bias"] = np.zeros(1000, "int8")
    assert_refused(make_classifier(), save(checkpoint), "head.bias is of dtype int8, not of floats")


def test_values_too_large_for_the_dtype_are_refused(checkpoint, save, tmp_path):
    checkpoint["head.bias"][3] = 1e6
    model = kc.from_preset(save(checkpoint))
    with pytest.raises(kc.WeightsError, match="head/bias holds values too large for float16"):
        kc.save_weights(model, tmp_path / "half.safetensors", "timm", dtype="float16")
    assert list(tmp_path.iterdir()) == [tmp_path / "file.safetensors"]  # nothing half written


def test_another_kind_of_model_is_refused(checkpoint, save):
    with pytest.raises(ValueError, match="Expected a ConvNeXtV2Backbone.*Received: 3"):
        kc.load_weights(3, save(checkpoint))


@pytest.mark.parametrize(
    ("path", "format", "dtype", "message"),
    [
        ("a.safetensors", "flax", None, "must be one of official, .*Received: 'flax'"),
        ("a.npz", "keras", None, r"ends in .safetensors or one of .*, .keras or .weights.h5"),
        ("folder", "official", None, r"ends in .safetensors or one of .pt, .pth, .bin\. Received"),
        ("folder", "timm", None, "no name for depths 1,1,2,1.*folder.safetensors"),
        ("a.keras", "timm", None, "of the format 'keras'"),
        ("a.keras", "keras", "float16", "dtype='float16'"),
        ("a.pt", "timm", "int8", "must be one of float32, .*Received: 'int8'"),
        ("a.pt", "minkowski", None, "no place for 4 weights, among them norm/gamma"),
    ],
)
def test_what_cannot_be_saved_is_an_error_and_leaves_nothing(
    path, format, dtype, message, tmp_path
):
    with pytest.raises(kc.WeightsError, match=message):
        kc.save_weights(make_classifier(3), tmp_path / path, format, dtype)
    assert not list(tmp_path.iterdir())


def test_a_folder_s_name_may_have_a_dot(tmp_path, rng):
    checkpoint = random_checkpoint(custom_layout("timm", DEPTHS, WIDTHS), rng)
    safetensors.numpy.save_file(checkpoint, tmp_path / "file.safetensors")
    model = kc.from_preset(tmp_path / "file.safetensors")
    kc.save_weights(model, tmp_path / "convnextv2_mine.fcmae_ft", "transformers")
    assert (tmp_path / "convnextv2_mine.fcmae_ft" / "model.safetensors").is_file()


def test_an_activation_that_is_lost_is_said(tmp_path):
    model = make_classifier(3, activation="softmax")
    with pytest.warns(UserWarning, match="a.pt will give logits"):
        kc.save_weights(model, tmp_path / "a.pt", "timm")


def test_a_size_is_no_file_and_the_way_out_is_named():
    with pytest.raises(kc.WeightsError, match="no file or folder atto.*PRESETS.*New weights are"):
        kc.from_preset("atto")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(kc.WeightsError, match=re.escape(f"no file or folder {tmp_path / 'a.pt'}")):
        kc.from_preset(tmp_path / "a.pt")


def test_a_folder_without_weights_lists_what_was_looked_for(tmp_path):
    with pytest.raises(kc.WeightsError, match="holds none of model.safetensors, "):
        kc.from_preset(tmp_path)


def test_an_entry_of_a_file_without_entries(checkpoint, save):
    with pytest.raises(kc.WeightsError, match="Only PyTorch files have entries.*'model_ema'"):
        kc.from_preset(save(checkpoint), entry="model_ema")


def test_models_built_in_a_name_scope_or_renamed_have_the_same_names(checkpoint, save, tmp_path):
    import keras

    with keras.name_scope("outer"):
        backbone = kc.ConvNeXtV2Backbone(kc.Variant(DEPTHS, WIDTHS), (64, 96, 3), name="mine")
        model = kc.ConvNeXtV2Classifier(backbone, 1000, name="also_mine")
    kc.load_weights(model, save(checkpoint))
    kc.save_weights(model, tmp_path / "ours.safetensors", "official")
    back = safetensors.numpy.load_file(tmp_path / "ours.safetensors")
    assert back.keys() == checkpoint.keys()


def test_the_trainable_state_of_layers_does_not_matter(checkpoint, save):
    model = make_classifier()
    model.backbone.trainable = False
    assert kc.load_weights(model, save(checkpoint)).num_loaded == len(checkpoint)
