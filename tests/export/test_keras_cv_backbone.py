"""A backbone drops into keras-cv's tasks as it is."""

import keras
import keras_cv
import numpy as np
import pytest

import keras_convnextv2 as kc
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


@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_levels_name_the_layers_that_make_the_pyramid(stem_stride):
    depths = (1, 3, 2, 1)
    backbone = kc.ConvNeXtV2Backbone(
        kc.Variant(depths, VARIANT.widths), (32, 64, 3), stem_stride=stem_stride
    )
    assert list(backbone.pyramid_level_inputs) == list(backbone.pyramid_outputs)
    for level, name in backbone.pyramid_level_inputs.items():
        output = backbone.get_layer(name).output
        assert output is backbone.pyramid_outputs[level]
        assert output.shape[1] == 32 // 2 ** int(level[1:])


def make_segmenter(backbone):
    return keras_cv.models.DeepLabV3Plus(
        backbone=backbone,
        num_classes=3,
        projection_filters=4,
        spatial_pyramid_pooling=keras_cv.layers.SpatialPyramidPooling(
            dilation_rates=[2], num_channels=8
        ),
    )


def test_deeplab_trains_the_backbone_itself(rng, tmp_path):
    backbone = make_backbone()
    model = make_segmenter(backbone)
    before = arrays_of(backbone)
    images = rng.normal(size=(2, 32, 64, 3)).astype("float32")
    masks = np.eye(3, dtype="float32")[rng.integers(0, 3, (2, 32, 64))]
    model.compile(keras.optimizers.Adam(1e-3), loss="categorical_crossentropy", run_eagerly=EAGERLY)
    losses = model.fit(images, masks, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert weights_that_stayed(backbone, before) == []

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert isinstance(loaded.backbone, kc.ConvNeXtV2Backbone)
    saved = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    for weight, old in zip(loaded.weights, saved, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), old)


@pytest.mark.one_backend
def test_retina_net_trains_the_backbone_itself(rng):
    backbone = make_backbone()
    model = keras_cv.models.RetinaNet(
        backbone=backbone,
        num_classes=2,
        bounding_box_format="xyxy",
        # 9 anchors a position; the heads that it makes itself take longer to compile
        classification_head=keras.layers.Conv2D(9 * 2, 1),
        box_head=keras.layers.Conv2D(9 * 4, 1),
    )
    before = arrays_of(backbone)
    images = rng.normal(size=(2, 32, 64, 3)).astype("float32")
    truth = {
        "boxes": np.array([[[2, 0, 34, 32]], [[20, 2, 60, 30]]], "float32"),
        "classes": np.array([[0], [1]], "float32"),
    }
    model.compile(
        optimizer=keras.optimizers.Adam(1e-4),
        box_loss="smoothl1",
        classification_loss="focal",
        run_eagerly=EAGERLY,
    )
    losses = model.fit(images, truth, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert weights_that_stayed(backbone, before) == []
