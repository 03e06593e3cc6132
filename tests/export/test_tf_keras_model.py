"""The tf_keras model is the Keras 3 model, and a full citizen of tf_keras."""

import sys

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.export.tf_keras_model import tf_keras_layers, to_tf_keras
from tests.reference.random_weights import randomize

VARIANT = kc.Variant((1, 2, 1, 1), (4, 6, 8, 12))
SMALLER = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))


@pytest.fixture(scope="module")
def tf_keras():
    import tf_keras

    return tf_keras


def make_classifier(image_shape=(32, 48, 3), activation=None, variant=VARIANT, **backbone):
    backbone = kc.ConvNeXtV2Backbone(variant, image_shape, seed=0, **backbone)
    model = kc.ConvNeXtV2Classifier(backbone, 5, activation)
    randomize(model, np.random.default_rng(0))
    return model


def outputs_of(model, images):
    return model.predict_on_batch(images).astype("float32")  # compiled once, not by operation


@pytest.mark.parametrize(
    ("stem_stride", "image_shape", "activation", "dtype", "tolerance"),
    [
        (4, (32, 48, 3), "softmax", None, 1e-5),
        # With rows and columns left over at the edge.
        pytest.param(2, (33, 21, 5), None, None, 1e-5, marks=pytest.mark.one_backend),
        pytest.param(1, (None, None, 1), "sigmoid", None, 1e-5, marks=pytest.mark.one_backend),
        # bfloat16 has 8 bits: the libraries round between operations in other places.
        (4, (32, 48, 3), None, "mixed_bfloat16", 0.1),
    ],
)
def test_outputs_are_equal(rng, stem_stride, image_shape, activation, dtype, tolerance):
    model = make_classifier(
        image_shape, activation=activation, stem_stride=stem_stride, dtype=dtype
    )
    height, width, channels = image_shape
    images = rng.normal(size=(3, height or 24, width or 40, channels)).astype("float32")
    copied = to_tf_keras(model)
    assert copied.input_shape == (None, *image_shape)
    scores = copied(images, training=False)
    assert scores.dtype == "float32"
    np.testing.assert_allclose(scores, outputs_of(model, images), atol=tolerance)
    if dtype is None:  # one more shape than needed costs JAX the most
        features = to_tf_keras(model.backbone)(images, training=False)
        expected = outputs_of(model.backbone, images)
        np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.one_backend
def test_layers_have_our_names_and_each_name_its_output(rng, tf_keras):
    model = make_classifier()
    copied = to_tf_keras(model)
    assert copied.name == model.name
    ours = [layer.name for layer in (*model.backbone.layers[1:], *model.layers[2:])]
    theirs = [layer.name for layer in copied.layers]
    assert [name for name in theirs if name in ours] == ours
    images = rng.normal(size=(2, 32, 48, 3)).astype("float32")
    names = ["stem", *(f"stage{stage}_block0" for stage in range(4)), "stage2_downsample"]
    found = tf_keras.Model(copied.input, [copied.get_layer(name).output for name in names])(images)
    backbone = model.backbone
    expected = keras.Model(backbone.input, [backbone.get_layer(name).output for name in names])
    for name, one, other in zip(names, found, expected.predict_on_batch(images), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.one_backend
def test_all_layers_but_grn_are_stock_ones(tf_keras):
    copied = to_tf_keras(make_classifier(drop_path_rate=0.3))
    own = [layer for layer in copied.layers if not type(layer).__module__.startswith("tf_keras.")]
    assert {type(layer).__name__ for layer in own} == {"GlobalResponseNormalization"}
    assert len(own) == sum(VARIANT.depths)


@pytest.mark.one_backend
def test_every_weight_is_there_and_gets_a_gradient(rng):
    import tensorflow as tf

    model = make_classifier(drop_path_rate=0.3)
    copied = to_tf_keras(model)
    assert len(copied.trainable_weights) == len(model.trainable_weights)
    images = tf.constant(rng.normal(size=(8, 32, 48, 3)), "float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(copied(images) - 1.0))
    for weight, gradient in zip(
        copied.trainable_weights, tape.gradient(loss, copied.trainable_weights), strict=True
    ):
        assert gradient is not None and np.any(gradient != 0), weight.name
        assert np.all(np.isfinite(gradient)), weight.name


@pytest.mark.one_backend
def test_an_all_zero_channel_has_finite_gradients():
    import tensorflow as tf

    layer = tf_keras_layers()["keras_convnextv2>GlobalResponseNormalization"]()
    x = tf.zeros((2, 3, 5, 4))
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x))
    assert np.all(np.isfinite(tape.gradient(loss, x)))


@pytest.mark.one_backend
def test_fit_lowers_the_loss(rng, tf_keras):
    copied = to_tf_keras(make_classifier(variant=SMALLER))
    before = [weight.numpy() for weight in copied.trainable_weights]
    images = rng.normal(size=(16, 32, 48, 3)).astype("float32")
    labels = rng.integers(0, 5, 16)
    copied.compile(
        tf_keras.optimizers.Adam(1e-3),
        tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    losses = copied.fit(images, labels, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for weight, old in zip(copied.trainable_weights, before, strict=True):
        assert np.any(weight.numpy() != old), weight.name


@pytest.mark.one_backend
def test_stochastic_depth_drops_whole_branches_of_images_in_training(rng):
    copied = to_tf_keras(make_classifier(drop_path_rate=0.5))
    layer = copied.get_layer("stage3_block0_stochastic_depth")
    assert layer.rate == 0.5
    x = rng.normal(size=(200, 3, 2, 4)).astype("float32")
    y = layer(x, training=True).numpy()
    kept = np.any(y != 0, axis=(1, 2, 3))
    np.testing.assert_allclose(y[kept], x[kept] / 0.5, rtol=1e-6)
    assert 60 < np.sum(kept) < 140  # 100 +- 5.7 standard deviations
    np.testing.assert_array_equal(layer(x, training=False), x)


@pytest.mark.one_backend
def test_frozen_layers_stay_frozen():
    model = make_classifier()
    model.backbone.trainable = False
    copied = to_tf_keras(model)
    assert [weight.name for weight in copied.trainable_weights] == [
        "norm/gamma:0",
        "norm/beta:0",
        "head/kernel:0",
        "head/bias:0",
    ]


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["model.keras", "model.h5", "saved_model"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_saving_and_loading(rng, tmp_path, tf_keras, name):
    copied = to_tf_keras(make_classifier(activation="softmax", variant=SMALLER, drop_path_rate=0.2))
    images = rng.normal(size=(3, 32, 48, 3)).astype("float32")
    copied.save(tmp_path / name)
    registered = tf_keras.utils.get_custom_objects()
    kept = dict(registered)
    registered.clear()  # as in a program that has not called `to_tf_keras`
    try:
        loaded = tf_keras.models.load_model(tmp_path / name, custom_objects=tf_keras_layers())
    finally:
        registered.update(kept)
    np.testing.assert_allclose(loaded(images), copied(images), atol=1e-6)
    assert len(loaded.trainable_weights) == len(copied.trainable_weights)
    loaded.compile("sgd", "categorical_crossentropy", run_eagerly=True)
    before = loaded.get_weights()
    loaded.train_on_batch(images, np.eye(5, dtype="float32")[:3])
    assert all(np.any(new != old) for new, old in zip(loaded.get_weights(), before, strict=True))


@pytest.mark.one_backend
def test_an_activation_that_computes_something_else_there():
    with pytest.raises(ValueError, match="'hard_sigmoid' of tf_keras computes something else"):
        to_tf_keras(make_classifier(activation="hard_sigmoid"))


@pytest.mark.one_backend
def test_an_activation_that_is_not_there():
    with pytest.raises(ValueError, match="tf_keras has no activation"):
        to_tf_keras(make_classifier(activation="sparsemax"))


@pytest.mark.one_backend
def test_another_model():
    with pytest.raises(ValueError, match="must be a ConvNeXtV2Backbone or .* Received: Sequential"):
        to_tf_keras(keras.Sequential())


@pytest.mark.one_backend
@pytest.mark.parametrize("missing", ["tf_keras", "tensorflow"])
def test_tf_keras_is_not_installed(monkeypatch, missing):
    model = make_classifier()
    for name in [name for name in sys.modules if name.partition(".")[0] == "tf_keras"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError, match=r"keras-convnextv2\[tf-keras\]") as caught:
        to_tf_keras(model)
    assert caught.value.name == "tf_keras"
