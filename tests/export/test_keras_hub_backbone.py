"""A backbone serves keras-hub's tasks, as it is and as keras-hub's own class."""

import sys

import keras
import keras_hub
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.export.keras_hub_backbone import pyramid_backbone_class, to_keras_hub
from tests.reference.random_weights import randomize

VARIANT = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
# TensorFlow would trace for longer than it trains. tests/recipes trains in graphs.
EAGERLY = keras.backend.backend() == "tensorflow"


@pytest.fixture(scope="module", autouse=True)
def compile_quickly_on_jax():
    """XLA compiles one convolution faster than 49 products and their gradients."""
    before = kc.set_fast_paths("off")
    yield
    kc.set_fast_paths(before)


@pytest.fixture(autouse=True)
def draw_the_same_heads():
    """A loss that begins low by chance need not fall in a few steps."""
    keras.utils.set_random_seed(0)


def make_backbone(image_shape=(32, 64, 3), **settings):
    backbone = kc.ConvNeXtV2Backbone(VARIANT, image_shape, seed=0, **settings)
    randomize(backbone, np.random.default_rng(0))
    return backbone


def weights_that_stayed(model, before):
    after = {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights}
    return [path for path, old in before.items() if np.array_equal(after[path], old)]


def arrays_of(model):
    return {
        weight.path: np.copy(keras.ops.convert_to_numpy(weight))
        for weight in model.trainable_weights
    }


def make_deeplab(backbone, finest="P2", coarsest="P5"):
    return keras_hub.models.DeepLabV3ImageSegmenter(
        keras_hub.models.DeepLabV3Backbone(
            image_encoder=backbone,
            low_level_feature_key=finest,
            spatial_pyramid_pooling_key=coarsest,
            upsampling_size=8,
            dilation_rates=[2],
            projection_filters=4,
            image_shape=(32, 64, 3),
        ),
        num_classes=3,
    )


def make_segformer(backbone):
    return keras_hub.models.SegFormerImageSegmenter(
        keras_hub.models.SegFormerBackbone(
            image_encoder=to_keras_hub(backbone, first_level=1), projection_filters=8
        ),
        num_classes=3,
    )


def test_segmentation_trains_the_backbone_itself(rng):
    backbone = make_backbone()
    model = make_segformer(backbone)
    before = arrays_of(backbone)
    images = rng.normal(size=(2, 32, 64, 3)).astype("float32")
    masks = np.eye(3, dtype="float32")[rng.integers(0, 3, (2, 32, 64))]
    model.compile(keras.optimizers.Adam(1e-3), metrics=[], run_eagerly=EAGERLY)
    losses = model.fit(images, masks, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert weights_that_stayed(backbone, before) == []


def test_a_task_saved_and_loaded(tmp_path):
    model = make_segformer(make_backbone())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    saved = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    for weight, old in zip(loaded.weights, saved, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), old)


@pytest.mark.one_backend
def test_detection_trains_the_backbone_itself(rng):
    backbone = make_backbone()
    model = keras_hub.models.RetinaNetObjectDetector(
        keras_hub.models.RetinaNetBackbone(
            image_encoder=backbone, min_level=3, max_level=5, use_p5=False, image_shape=(32, 64, 3)
        ),
        num_classes=2,
        bounding_box_format="xyxy",
        pre_logits_num_conv_layers=1,
    )
    before = arrays_of(backbone)
    images = rng.normal(size=(2, 32, 64, 3)).astype("float32")
    truth = {
        "boxes": np.array([[[2, 0, 34, 32]], [[20, 2, 60, 30]]], "float32"),
        "labels": np.array([[0], [1]], "float32"),
    }
    model.compile(optimizer=keras.optimizers.Adam(1e-4), run_eagerly=EAGERLY)
    losses = model.fit(images, truth, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert weights_that_stayed(backbone, before) == []


@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_deeplab_takes_every_stem_stride(stem_stride):
    backbone = make_backbone(stem_stride=stem_stride)
    finest, *_, coarsest = backbone.pyramid_outputs
    model = make_deeplab(backbone, finest, coarsest)
    assert model.output_shape == (None, 32, 64, 3)
    trained = {id(weight) for weight in model.trainable_weights}
    assert {id(weight) for weight in backbone.trainable_weights} < trained


@pytest.mark.parametrize("image_shape", [(32, 64, 3), (None, None, 5)])
def test_keras_hubs_own_class(image_shape):
    backbone = make_backbone(image_shape)
    theirs = to_keras_hub(backbone)
    assert isinstance(theirs, keras_hub.models.FeaturePyramidBackbone)
    assert isinstance(theirs, pyramid_backbone_class())
    assert {id(weight) for weight in theirs.weights} == {id(weight) for weight in backbone.weights}
    assert list(theirs.pyramid_outputs) == ["P2", "P3", "P4", "P5"]
    for level, output in theirs.pyramid_outputs.items():
        assert output is backbone.pyramid_outputs[level]
    assert theirs.image_shape == image_shape
    assert theirs.output.shape[1:] == backbone.output.shape[1:]
    assert list(to_keras_hub(backbone, first_level=1).pyramid_outputs) == ["P1", "P2", "P3", "P4"]


def test_keras_hubs_own_class_saved_and_loaded(tmp_path, rng):
    theirs = to_keras_hub(make_backbone(stem_stride=2, drop_path_rate=0.1), first_level=1)
    remade = type(theirs).from_config(theirs.get_config())
    assert remade.get_config() == theirs.get_config()
    assert list(remade.pyramid_outputs) == ["P1", "P2", "P3", "P4"]
    assert remade.image_encoder.stem_stride == 2
    assert remade.image_encoder.drop_path_rate == 0.1

    theirs.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    images = rng.normal(size=(2, 32, 64, 3)).astype("float32")
    outputs, expected = (model.predict_on_batch(images) for model in (loaded, theirs.image_encoder))
    np.testing.assert_allclose(outputs, expected, atol=1e-6)


def test_another_model():
    with pytest.raises(ValueError, match="must be a ConvNeXtV2Backbone. Received: Sequential"):
        to_keras_hub(keras.Sequential())


def test_another_first_level():
    with pytest.raises(ValueError, match="`first_level` must be 0 or more. Received: -1"):
        to_keras_hub(make_backbone(), first_level=-1)


def test_keras_hub_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    pyramid_backbone_class.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r"keras-convnextv2\[keras-hub\]") as caught:
        to_keras_hub(make_backbone())
    assert caught.value.name == "keras_hub"
