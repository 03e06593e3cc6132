"""A SavedModel can be trained on, by TensorFlow itself and in tf_keras."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import keras_convnextv2 as kc
from keras_convnextv2.export import export_model
from keras_convnextv2.export.tf_keras_saved_model import saved_model_layer

pytestmark = pytest.mark.one_backend


@pytest.fixture(scope="module")
def exported(make_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "backbone"
    model = make_model(num_classes=None)
    export_model(model, path, image_size=(64, None))
    return model, path


def test_every_weight_gets_a_gradient(exported, pixels):
    model, path = exported
    served = tf.saved_model.load(str(path))
    assert len(served.variables) == len(served.trainable_variables) == len(model.weights)
    assert list(served.regularization_losses) == []
    images = kc.preprocess(pixels[:2])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(served(images, training=True) ** 2)
    gradients = tape.gradient(loss, served.trainable_variables)
    sizes = [float(tf.reduce_max(tf.abs(gradient))) for gradient in gradients]
    assert all(np.isfinite(size) and size > 0 for size in sizes)


def test_it_is_fine_tuned_in_tf_keras(exported, pixels, outputs_of):
    tf_keras.utils.set_random_seed(0)
    model, path = exported
    images, labels = kc.preprocess(pixels), np.arange(len(pixels)) % 3
    inputs = tf_keras.Input((64, 96, 3))
    layer = saved_model_layer(path)
    features = layer(inputs)
    np.testing.assert_allclose(layer(images), outputs_of(model, images), atol=1e-4)
    assert len(layer.trainable_weights) == len(model.weights)
    logits = tf_keras.layers.Dense(3)(tf_keras.layers.GlobalAveragePooling2D()(features))
    tuned = tf_keras.Model(inputs, logits)
    before = [weight.numpy() for weight in layer.trainable_weights]
    tuned.compile(
        optimizer=tf_keras.optimizers.Adam(1e-3),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    losses = tuned.fit(images, labels, epochs=20, batch_size=24, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    moved = [
        np.any(weight.numpy() != old) for weight, old in zip(layer.weights, before, strict=True)
    ]
    assert all(moved)
