"""The same model in tf_keras, which is Keras 2: for TF_USE_LEGACY_KERAS, TFMOT and the like."""

import functools

import keras
import numpy as np

from keras_convnextv2.export.network import demand_exportable
from keras_convnextv2.export.partner_packages import import_partner
from keras_convnextv2.models.low_rank import plain_weights


def to_tf_keras(model):
    """An equal `tf_keras` functional model with the same weights, to train, save and load there.

    `model` may be of any Keras backend: its weights are copied as NumPy arrays. tf_keras itself
    needs TensorFlow beside it.

    Layers are stock ones of tf_keras, one level deep (so that TFMOT can annotate them), but for
    GRN; see `tf_keras_layers` on loading what was saved. What `stem`, `stage{i}_downsample`,
    `stage{i}_block{j}`, `pool`, `norm` and `head` put out, they put out there under the same
    name; the layers within, `stage0_block0_expand` and so on, have the part's name at the end.
    Frozen layers stay frozen, and stochastic depth acts in training, by TensorFlow's random
    numbers. float32, mixed and half precision are kept.

    Args:
        model: a `ConvNeXtV2Backbone` or `ConvNeXtV2Classifier`.

    Returns:
        `tf_keras.Model` from (B, height, width, channels), float and normalised, to what `model`
        puts out.

    Raises:
        ModuleNotFoundError: tf_keras is not installed.
        ExportError: another model, or blocks that are not the paper's.
        ValueError: an activation or a dtype policy that tf_keras does not have.

    Examples:
        >>> import keras_convnextv2 as kc
        >>> from keras_convnextv2.export import to_tf_keras
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(small, (64, 64, 3)), 2)
        >>> to_tf_keras(model).output_shape
        (None, 2)
    """
    demand_exportable(model)
    tf_keras = import_partner("tf_keras", extra="tf-keras")
    response_norm = tf_keras_layers()["keras_convnextv2>GlobalResponseNormalization"]
    backbone = getattr(model, "backbone", model)
    copies = []  # (our layer, its copy)

    def copy(kind, ours, name, **settings):
        policy = _policy(tf_keras, ours.dtype_policy.name)
        theirs = kind(name=name, dtype=policy, trainable=ours.trainable, **settings)
        copies.append((ours, theirs))
        return theirs

    def norm(ours, name):
        return copy(tf_keras.layers.LayerNormalization, ours, name, epsilon=ours.epsilon)

    def convolution(ours, name):
        return copy(
            tf_keras.layers.Conv2D,
            ours,
            name,
            filters=ours.filters,
            kernel_size=ours.kernel_size,
            strides=ours.strides,
            kernel_initializer=_initializer(tf_keras, ours.kernel_initializer),
            data_format="channels_last",
        )

    def linear(ours, name, activation=None):
        return copy(
            tf_keras.layers.Dense,
            ours,
            name,
            units=ours.units,
            activation=activation,
            kernel_initializer=_initializer(tf_keras, ours.kernel_initializer),
        )

    def block(ours, x):
        name = ours.name
        branch = copy(
            tf_keras.layers.DepthwiseConv2D,
            ours.depthwise,
            f"{name}_depthwise",
            kernel_size=ours.depthwise.kernel_size,
            padding="same",
            depthwise_initializer=_initializer(tf_keras, ours.expand.kernel_initializer),
            data_format="channels_last",
        )(x)
        branch = norm(ours.norm, f"{name}_norm")(branch)
        branch = linear(ours.expand, f"{name}_expand")(branch)
        policy = _policy(tf_keras, ours.dtype_policy.name)
        branch = tf_keras.layers.Activation("gelu", name=f"{name}_gelu", dtype=policy)(branch)
        branch = copy(
            response_norm,
            ours.response,
            f"{name}_response_norm",
            epsilon=ours.response.epsilon,
        )(branch)
        branch = linear(ours.project, f"{name}_project")(branch)
        if ours.drop_path_rate > 0:
            branch = tf_keras.layers.Dropout(
                ours.drop_path_rate,
                noise_shape=(None, 1, 1, 1),  # one draw an image: stochastic depth
                seed=ours.seed,
                name=f"{name}_stochastic_depth",
                dtype=policy,
            )(branch)
        return tf_keras.layers.Add(name=name, dtype=policy)([x, branch])

    images = tf_keras.Input(backbone.image_shape, name="images")
    layers = {layer.name: layer for layer in backbone.layers}
    stem_convolution, stem_norm = layers["stem"].layers
    x = norm(stem_norm, "stem")(convolution(stem_convolution, "stem_conv")(images))
    for stage, depth in enumerate(backbone.variant.depths):
        if stage > 0:
            name = f"stage{stage}_downsample"
            before, downsampling = layers[name].layers
            x = convolution(downsampling, name)(norm(before, f"{name}_norm")(x))
        for number in range(depth):
            x = block(layers[f"stage{stage}_block{number}"], x)
    if model is not backbone:
        pool, last_norm, head = (model.get_layer(name) for name in ("pool", "norm", "head"))
        x = copy(tf_keras.layers.GlobalAveragePooling2D, pool, "pool", data_format="channels_last")(
            x
        )
        x = norm(last_norm, "norm")(x)
        x = linear(head, "head", _activation(tf_keras, model.activation))(x)
    copied = tf_keras.Model(images, x, name=model.name)
    for ours, theirs in copies:
        theirs.set_weights(
            [keras.ops.convert_to_numpy(weight.value) for weight in plain_weights(ours)]
        )
    return copied


@functools.cache
def tf_keras_layers():
    """What tf_keras does not have itself: {registered name: class}.

    Making them registers them: call this in a program that loads a saved model without having
    called `to_tf_keras`, `tf_keras.models.load_model(path, custom_objects=tf_keras_layers())`.

    Raises:
        ModuleNotFoundError: tf_keras is not installed.
    """
    tf_keras = import_partner("tf_keras", extra="tf-keras")
    import tensorflow as tf

    @tf_keras.saving.register_keras_serializable(package="keras_convnextv2")
    class GlobalResponseNormalization(tf_keras.layers.Layer):
        """As `keras_convnextv2.GlobalResponseNormalization`, without a mask."""

        def __init__(self, epsilon=1e-6, **kwargs):
            super().__init__(**kwargs)
            self.epsilon = epsilon

        def build(self, input_shape):
            shape = (input_shape[-1],)
            self.gamma = self.add_weight("gamma", shape=shape, initializer="zeros")
            self.beta = self.add_weight("beta", shape=shape, initializer="zeros")
            super().build(input_shape)

        def call(self, x):
            gamma, beta = tf.cast(self.gamma, "float32"), tf.cast(self.beta, "float32")
            wide_x = tf.cast(x, "float32")
            energy = tf.reduce_sum(tf.square(wide_x), axis=(1, 2), keepdims=True)
            # The gradient of a square root is infinite at 0, where an all-zero channel puts it.
            silent = tf.equal(energy, 0.0)
            norm = tf.where(silent, 0.0, tf.sqrt(tf.where(silent, 1.0, energy)))  # (B, 1, 1, C)
            response = norm / (tf.reduce_mean(norm, axis=-1, keepdims=True) + self.epsilon)
            y = wide_x * (1.0 + gamma * response) + beta
            if x.dtype == tf.float16:
                y = tf.clip_by_value(y, -65504.0, 65504.0)  # saturate instead of turning into Inf
            return tf.cast(y, x.dtype)

        def get_config(self):
            return {**super().get_config(), "epsilon": self.epsilon}

    return {"keras_convnextv2>GlobalResponseNormalization": GlobalResponseNormalization}


def _policy(tf_keras, name):
    try:
        return tf_keras.mixed_precision.Policy(name)
    except (TypeError, ValueError) as error:
        raise ValueError(f"tf_keras has no dtype policy {name!r}.") from error


def _initializer(tf_keras, ours):
    return tf_keras.initializers.RandomNormal(mean=ours.mean, stddev=ours.stddev)


def _activation(tf_keras, ours):
    """tf_keras's activation that computes the same as Keras's `ours`, by its name."""
    name = keras.activations.serialize(ours)
    # Some of one name differ, as hard_sigmoid does: they are compared.
    scores = np.linspace(-6, 6, 60, dtype="float32").reshape(5, 12)
    expected = keras.ops.convert_to_numpy(ours(keras.ops.convert_to_tensor(scores)))
    try:
        theirs = tf_keras.activations.get(name)
        found = theirs(tf_keras.backend.constant(scores))
    except (TypeError, ValueError) as error:
        raise ValueError(f"tf_keras has no activation {name!r}.") from error
    if not np.allclose(found, expected, atol=1e-5):
        raise ValueError(
            f"The activation {name!r} of tf_keras computes something else than that of Keras 3. "
            "Make the classifier without an activation and apply your own to its output."
        )
    return theirs
