"""What is frozen stays frozen in files, clones and presets."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc

SIZES = kc.Variant((1, 1, 2, 1), (4, 6, 8, 12))


def make_backbone():
    return kc.ConvNeXtV2Backbone(SIZES, (16, 24, 3), stem_stride=1)


def frozen_in_parts():
    """A classifier whose stem, a block and parts of others are frozen."""
    backbone = make_backbone()
    backbone.get_layer("stem").trainable = False
    backbone.get_layer("stage0_block0").trainable = False
    backbone.get_layer("stage1_downsample").layers[1].trainable = False
    backbone.get_layer("stage2_block1").depthwise.trainable = False
    return backbone


def frozen_backbone():
    backbone = make_backbone()
    backbone.trainable = False
    return backbone


def names_of_trainable(model):
    return sorted(weight.path.split("/", 1)[-1] for weight in model.trainable_weights)


@pytest.mark.parametrize("make", [frozen_in_parts, frozen_backbone])
def test_a_model_around_a_backbone_leaves_it_frozen(make):
    expected = len(make().trainable_weights)
    backbone = make()
    classifier = kc.ConvNeXtV2Classifier(backbone, 3)
    assert len(backbone.trainable_weights) == expected
    assert len(classifier.trainable_weights) == expected + 4  # norm and head
    fcmae = kc.FCMAE(make(), decoder_width=8)
    assert len(fcmae.backbone.trainable_weights) == expected


def by_file(model, folder):
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")


def by_config(model, folder):
    return type(model).from_config(model.get_config())


def by_preset(model, folder):
    model.save(folder / "model.keras")
    return kc.from_preset(folder / "model.keras")


@pytest.mark.parametrize("copied", [by_file, by_config, by_preset])
@pytest.mark.parametrize("make", [frozen_in_parts, frozen_backbone])
def test_copies_have_the_same_weights_frozen(make, copied, tmp_path):
    classifier = kc.ConvNeXtV2Classifier(make(), 3)
    classifier.get_layer("norm").trainable = False
    for model in (classifier, classifier.backbone):
        copy = copied(model, tmp_path)
        assert type(copy) is type(model)
        assert names_of_trainable(copy) == names_of_trainable(model)


@pytest.mark.one_backend
def test_a_model_that_is_frozen_whole(tmp_path):
    classifier = kc.ConvNeXtV2Classifier(make_backbone(), 3)
    classifier.trainable = False
    assert by_file(classifier, tmp_path).trainable_weights == []


def test_a_pretraining_model_keeps_what_is_frozen(tmp_path):
    fcmae = kc.FCMAE(frozen_in_parts(), decoder_width=8)
    fcmae.decoder.predict_pixels.trainable = False
    loaded = by_file(fcmae, tmp_path)
    assert names_of_trainable(loaded) == names_of_trainable(fcmae)


def test_training_goes_on_from_a_file_with_what_is_frozen(tmp_path, rng, recwarn):
    model = kc.ConvNeXtV2Classifier(frozen_in_parts(), 3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.AdamW(1e-2), loss=loss)
    images, labels = rng.normal(size=(4, 16, 24, 3)).astype("float32"), np.arange(4) % 3
    model.fit(images, labels, batch_size=4, shuffle=False, verbose=0)
    loaded = by_file(model, tmp_path)
    assert not [str(warning.message) for warning in recwarn if "optimizer" in str(warning.message)]
    stem = loaded.backbone.get_layer("stem").get_weights()
    for trained in (model, loaded):
        trained.fit(images, labels, batch_size=4, shuffle=False, verbose=0)
    for before, after in zip(stem, loaded.backbone.get_layer("stem").get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    # The optimizer's moments came along: equal steps, but for the order of float32 sums.
    for own, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-6)
