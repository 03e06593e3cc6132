"""TensorFlow's SavedModel, written by TensorFlow from plain operations."""

import dataclasses
import json
from pathlib import Path

from keras_convnextv2.export.network import EPSILON
from keras_convnextv2.export.runtimes import METADATA_FILE


class TensorFlowOperators:
    """The operators (`network.Operators`) as calls of TensorFlow; values are tensors."""

    def __init__(self):
        import tensorflow as tf

        self._tf = tf

    def convolution(self, name, x, kernel, bias, stride):
        return self._tf.nn.conv2d(x, kernel, stride, "VALID", name=name) + bias

    def depthwise(self, name, x, kernel, bias):
        return self._tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME", name=name) + bias

    def linear(self, name, x, kernel, bias):
        if x.shape.rank == 2:
            return self._tf.linalg.matmul(x, kernel) + bias
        return self._tf.nn.conv2d(x, kernel[None, None], 1, "VALID", name=name) + bias

    def layer_norm(self, name, x, gamma, beta):
        mean, variance = self._tf.nn.moments(x, -1, keepdims=True)
        return self._tf.nn.batch_normalization(x, mean, variance, beta, gamma, EPSILON)

    def gelu(self, name, x):
        return self._tf.nn.gelu(x, approximate=False)

    def response_norm(self, name, x, gamma, beta):
        tf = self._tf
        energy = tf.reduce_sum(tf.square(x), (1, 2), keepdims=True)
        positive = energy > 0  # the root has no gradient at 0
        norm = tf.where(positive, tf.sqrt(tf.where(positive, energy, 1.0)), 0.0)
        response = norm / (tf.reduce_mean(norm, -1, keepdims=True) + EPSILON)
        return x * (1.0 + gamma * response) + beta

    def add(self, name, x, y):
        return x + y

    def mean_over_positions(self, name, x):
        return self._tf.reduce_mean(x, (1, 2))

    def activation(self, name, x):
        return getattr(self._tf.nn, name)(x)


def write(network, path, settings):
    """Writes a SavedModel's folder; to be called in a process that may import TensorFlow.

    It serves by the signature "serving_default", and is a reusable SavedModel (`__call__`,
    `variables`, `trainable_variables`), so that it can be trained on.

    Args:
        network: a `Network` in the terms of the artefact's input.
        path: str or Path, of a folder that is not there.
        settings: the artefact's `Settings`.
    """
    import tensorflow as tf

    weights = {name: tf.Variable(array, name=name) for name, array in network.weights.items()}
    trained = dataclasses.replace(network, weights=weights)
    operators = TensorFlowOperators()
    images = tf.TensorSpec(settings.input_shape, settings.dtype, name="images")

    def call(images, training=False):
        # There is no stochastic depth here: training and inference compute the same.
        return trained.run(operators, tf.cast(images, tf.float32))

    root = tf.train.Checkpoint()  # a plain object that TensorFlow follows into its attributes
    root.__call__ = tf.function(call)
    for training in (False, True):
        root.__call__.get_concrete_function(images, training=training)

    @tf.function(input_signature=[images])
    def serve(images):
        return {"outputs": root.__call__(images, training=False)}

    root.variables = root.trainable_variables = list(weights.values())
    root.regularization_losses = []
    tf.saved_model.save(root, str(path), signatures={"serving_default": serve})
    extra = Path(path, "assets.extra")
    extra.mkdir()
    (extra / METADATA_FILE).write_text(json.dumps(settings.metadata(network), indent=1))
