"""Features of each backend: what they are, and that the cache never gives others."""

import dataclasses
import os
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_convnextv2 as kc
from keras_convnextv2.analysis import feature_cache
from keras_convnextv2.analysis.feature_cache import (
    cached_features,
    source_identity,
    weights_identity,
)
from keras_convnextv2.analysis.features import compute_features, describe, feature_model
from keras_convnextv2.data import ImageBatches, open_source
from tests.reference.random_weights import randomize

SMALL = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))


def make_backbone(seed=0):
    backbone = kc.ConvNeXtV2Backbone(SMALL, (16, 24, 3), stem_stride=1)
    randomize(backbone, np.random.default_rng(seed))
    return backbone


@pytest.fixture(scope="module")
def backbone():
    return make_backbone()


@pytest.fixture(scope="module")
def extractor(backbone):
    return feature_model(backbone)


@pytest.fixture
def folder(tmp_path, rng):
    """Seven pictures in two classes."""
    for number in range(7):
        of_class = tmp_path / "pictures" / "train" / "ab"[number % 2]
        of_class.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (20, 30, 3), dtype="uint8")
        Image.fromarray(pixels).save(of_class / f"{number}.png")
    return tmp_path / "pictures"


def batches_of(folder, size=(16, 24), batch_size=3, **options):
    return ImageBatches(open_source(folder, "train"), size, batch_size, labelled=True, **options)


def kept(folder, extractor, batches):
    """Of batches of all images of a source, told by its files."""
    images = source_identity(batches.source, tuple(batches.image_size))
    assert images is not None
    return cached_features(folder, extractor, batches, images)


def layer_norm(x):
    mean, variance = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6)


def test_features_are_the_pooled_last_stage_and_a_layer_norm(backbone, extractor, folder):
    batches = batches_of(folder)
    images = np.concatenate([batches[index][0] for index in range(3)])
    pooled = backbone.predict(images, verbose=0).mean(axis=(1, 2))
    found = compute_features(extractor, batches)
    assert found.features.dtype == "float32"
    # float32, sums of 6 positions and of 12 channels; the last batch of one image is filled up.
    np.testing.assert_allclose(found.features, layer_norm(pooled), atol=2e-5)
    assert found.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    plain = compute_features(feature_model(backbone, norm=False), batches)
    np.testing.assert_allclose(plain.features, pooled, atol=1e-5 * np.abs(pooled).max())


def test_a_classifier_s_features_pass_its_own_norm(folder):
    backbone = make_backbone()
    classifier = kc.ConvNeXtV2Classifier(backbone, 3)
    randomize(classifier, np.random.default_rng(4))
    batches = batches_of(folder)
    images = batches[0][0]
    found = compute_features(feature_model(classifier), batches).features[:3]
    kernel, bias = (
        keras.ops.convert_to_numpy(weight.value) for weight in classifier.get_layer("head").weights
    )
    logits = classifier.predict(images, verbose=0)
    np.testing.assert_allclose(found @ kernel + bias, logits, atol=1e-5 * np.abs(logits).max())
    assert "of the classifier" in describe(classifier)
    assert "scale 1 and shift 0" in describe(backbone)
    assert "LayerNorm" not in describe(backbone, norm=False)


def test_features_follow_the_weights_of_a_model_in_training(make_fcmae, folder):
    fcmae = make_fcmae()
    extractor = feature_model(fcmae)
    batches = batches_of(folder)
    before = compute_features(extractor, batches).features
    randomize(fcmae, np.random.default_rng(9))
    after = compute_features(extractor, batches).features
    assert np.abs(after - before).max() > 0.1
    with pytest.raises(ValueError, match="ConvNeXtV2Backbone"):
        feature_model(keras.Sequential())


@pytest.fixture
def computed(monkeypatch):
    """Counts how often features are computed."""
    calls = []

    def count(*arguments):
        calls.append(arguments)
        return compute_features(*arguments)

    monkeypatch.setattr(feature_cache, "compute_features", count)
    return calls


def test_the_second_time_they_are_read(extractor, folder, tmp_path, computed):
    first = kept(tmp_path / "cache", extractor, batches_of(folder))
    # Of another batch size, in a model of the same weights made anew, and in a moved folder.
    moved = folder.rename(tmp_path / "moved")
    same_weights = feature_model(make_backbone())
    second = kept(tmp_path / "cache", same_weights, batches_of(moved, batch_size=3))
    assert len(computed) == 1
    assert (first.from_cache, second.from_cache) == (False, True)
    np.testing.assert_array_equal(first.features, second.features)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert first.identity == second.identity


def changed_pixel(folder):
    """One pixel of one file is other; its size, place and date are what they were."""
    path = folder / "train/a/6.png"  # of neither the first nor the last batch
    status = path.stat()
    pixels = np.array(Image.open(path))
    size = path.stat().st_size
    for value in range(256):
        pixels[10, 15, 0] = value
        Image.fromarray(pixels).save(folder / "other.png")
        found = (folder / "other.png").read_bytes()
        if found != path.read_bytes() and len(found) == size:
            break
    (folder / "other.png").replace(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns and path.stat().st_size == size
    return batches_of(folder)


def another_image(folder):
    Image.new("RGB", (20, 20)).save(folder / "train/b/9.png")
    return batches_of(folder)


def other_class(folder):
    (folder / "train/b/1.png").rename(folder / "train/a/1.png")
    return batches_of(folder)


def other_normalisation(folder):
    batches = batches_of(folder)
    batches.source = dataclasses.replace(batches.source, mean=(0.4, 0.5, 0.6))
    return batches


@pytest.mark.one_backend
@pytest.mark.parametrize("change", [changed_pixel, another_image, other_class, other_normalisation])
def test_other_images_are_computed_anew(extractor, folder, tmp_path, computed, change):
    first = kept(tmp_path / "cache", extractor, batches_of(folder))
    second = kept(tmp_path / "cache", extractor, change(folder))
    assert len(computed) == 2 and not second.from_cache
    assert second.identity != first.identity


def test_other_weights_are_computed_anew(folder, tmp_path, computed):
    backbone = make_backbone()
    extractor = feature_model(backbone)
    first = kept(tmp_path, extractor, batches_of(folder))
    weight = backbone.get_layer("stage2_block0").weights[-1]
    value = keras.ops.convert_to_numpy(weight.value).copy()
    value.flat[0] = np.nextafter(value.flat[0], np.float32(np.inf))  # the least change there is
    weight.assign(value)
    second = kept(tmp_path, extractor, batches_of(folder))
    pooled = kept(tmp_path, feature_model(backbone, norm=False), batches_of(folder))
    assert len(computed) == 3
    assert len({found.identity for found in (first, second, pooled)}) == 3


@pytest.mark.one_backend
def test_another_size_is_computed_anew(folder, tmp_path, computed):
    any_size = feature_model(kc.ConvNeXtV2Backbone(SMALL, (None, None, 3), stem_stride=1))
    for size in ((16, 24), (24, 16), (16, 24)):
        kept(tmp_path, any_size, batches_of(folder, size))
    assert len(computed) == 2


@pytest.mark.one_backend
def test_the_model_s_configuration_counts_beside_its_weights():
    pair = [
        feature_model(kc.ConvNeXtV2Backbone(SMALL, (None, None, 3), stem_stride=1, dtype=dtype))
        for dtype in ("float32", "mixed_bfloat16")
    ]
    for weights in zip(*(model.weights for model in pair), strict=True):
        weights[1].assign(weights[0].value)
    assert weights_identity(pair[0]) != weights_identity(pair[1])


@pytest.mark.one_backend
def test_another_way_to_decode_shows_in_the_first_batch(
    extractor, folder, tmp_path, computed, monkeypatch
):
    kept(tmp_path / "cache", extractor, batches_of(folder))
    batches = batches_of(folder)
    read = type(batches).__getitem__

    def brighter(self, index):
        images, labels = read(self, index)
        return images + np.float32(1e-3), labels

    monkeypatch.setattr(type(batches), "__getitem__", brighter)
    assert not kept(tmp_path / "cache", extractor, batches).from_cache
    assert len(computed) == 2


@pytest.mark.one_backend
def test_sources_that_do_not_say_what_they_hold_are_not_guessed(folder):
    source = open_source(folder, "train")
    assert source_identity(source, object()) is None  # a framing without values
    indices = dataclasses.replace(source, records=np.arange(7))  # places in a file
    assert source_identity(indices, (16, 24)) is None
    with pytest.raises(ValueError, match="unshuffled"):
        cached_features(folder, None, batches_of(folder, shuffle=True))


@pytest.mark.one_backend
def test_images_in_memory_are_known_by_their_pixels(extractor, tmp_path, rng, computed):
    images = rng.normal(size=(4, 16, 24, 3)).astype("float32")
    labels = np.arange(4)
    cached_features(tmp_path, extractor, [(images, labels)])
    assert cached_features(tmp_path, extractor, [(images.copy(), labels)]).from_cache
    images[3, 15, 23, 2] += 1e-3
    assert not cached_features(tmp_path, extractor, [(images, labels)]).from_cache


@pytest.mark.one_backend
@pytest.mark.parametrize("damage", ["cut", "of_another"])
def test_a_damaged_file_is_written_anew(extractor, folder, tmp_path, computed, damage):
    first = kept(tmp_path / "cache", extractor, batches_of(folder))
    (path,) = Path(tmp_path / "cache").iterdir()
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        np.savez(path, features=first.features + 1, identity=np.array("0" * 64))
    second = kept(tmp_path / "cache", extractor, batches_of(folder))
    np.testing.assert_array_equal(first.features, second.features)
    assert len(computed) == 2 and not second.from_cache
    assert kept(tmp_path / "cache", extractor, batches_of(folder)).from_cache
