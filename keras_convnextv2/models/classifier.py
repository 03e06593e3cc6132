import types

import keras

from keras_convnextv2.layers.initializers import weight_initializer
from keras_convnextv2.models.backbone import ConvNeXtV2Backbone
from keras_convnextv2.models.frozen_layers import freeze_again, frozen_layers
from keras_convnextv2.models.functional_model import FunctionalModel
from keras_convnextv2.models.probabilities import checked_temperature, probabilities_of
from keras_convnextv2.models.quantization import quantization_config, quantize_again
from keras_convnextv2.training import steps
from keras_convnextv2.training.distribution import engines
from keras_convnextv2.training.gradient_norm import GradientNorm


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class ConvNeXtV2Classifier(FunctionalModel):
    """A backbone with global average pooling, LayerNorm and a linear layer, functional.

    The backbone is shared, not copied: training the classifier trains the backbone. `fit` reports
    `gradient_norm`, the norm of all gradients together, beside the loss and the metrics.

    Args:
        backbone: a `ConvNeXtV2Backbone`.
        num_classes: int.
        activation: optional activation of the output, such as "softmax"; None gives logits.
        head_init_scale: float, factor on the initial weights of the linear layer; .001 as the
            paper fine-tunes (arXiv 2301.00808, appendix A).
        class_names: optional sequence of `num_classes` strings, kept with the model.
        name: optional name of the model.
        trainable: bool.
        multi_label: bool, whether an image may have several labels, or none: the probabilities are
            then the sigmoid of each logit, not the softmax of all. The activation "sigmoid" is of
            such a classifier in any case.

    Attributes:
        temperature: float above 0, 1 by default: what the logits are divided by before they become
            probabilities, in `probabilities`, in exports and in recipes.predict; the outputs of
            the model itself stay as they are. `analysis.fit_temperature` finds it on validation
            images. It is kept with the model, and is of a classifier without an activation.

    Input:
        images: (B, height, width, channels), float, normalised.

    Output:
        (B, num_classes), float32 also under mixed precision.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> backbone = kc.ConvNeXtV2Backbone(small, image_shape=(64, 96, 3))
        >>> model = kc.ConvNeXtV2Classifier(backbone, 2, class_names=["cat", "dog"])
        >>> model.predict(np.zeros((5, 64, 96, 3), "float32"), verbose=0).shape
        (5, 2)
        >>> model.temperature = 1.5
        >>> model.probabilities(np.array([[3.0, 0.0]])).round(3).tolist()
        [[0.8809999823570251, 0.11900000274181366]]
    """

    def __init__(
        self,
        backbone,
        num_classes=1000,
        activation=None,
        head_init_scale=0.001,
        class_names=None,
        name=None,
        trainable=True,
        multi_label=False,
    ):
        if not isinstance(backbone, ConvNeXtV2Backbone):
            raise ValueError(f"`backbone` must be a ConvNeXtV2Backbone. Received: {backbone!r}")
        if not isinstance(num_classes, int) or num_classes < 1:
            raise ValueError(f"`num_classes` must be a positive int. Received: {num_classes!r}")
        if class_names is not None and (
            isinstance(class_names, str)
            or len(class_names) != num_classes
            or not all(isinstance(class_name, str) for class_name in class_names)
        ):
            raise ValueError(
                f"`class_names` must be {num_classes} strings, one a class. "
                f"Received: {class_names!r}"
            )
        activation = keras.activations.get(activation)
        if multi_label and activation not in _OF_SEVERAL_LABELS:
            raise ValueError(
                "`multi_label` is of a classifier without an activation or with 'sigmoid'. "
                f"Received: {keras.activations.serialize(activation)!r}"
            )
        # The head is small: under half precision it pools, normalises and scores in float32.
        dtype = keras.backend.result_type(backbone.dtype_policy.compute_dtype, "float32")
        inputs = keras.Input(backbone.image_shape, name="images")
        outputs = backbone(inputs)
        for layer in make_head(num_classes, activation, head_init_scale, dtype):
            outputs = layer(outputs)
        super().__init__(inputs=inputs, outputs=outputs, name=name)
        if not trainable:  # to set it to True would train a backbone that is frozen
            self.trainable = False
        self.dtype_policy = backbone.dtype_policy  # under float16, `compile` scales the loss
        self.backbone = backbone
        self.num_classes = num_classes
        self.activation = activation
        self.multi_label = bool(multi_label) or activation is keras.activations.sigmoid
        self.temperature = 1.0
        self.head_init_scale = head_init_scale
        self.class_names = None if class_names is None else tuple(class_names)
        # Keras would count the variables of a metric that it finds among those of the model.
        self._untracked = types.SimpleNamespace(gradient_norm=GradientNorm())

    @property
    def metrics(self):
        return [*super().metrics, *([self._untracked.gradient_norm] if self.compiled else [])]

    def get_metrics_result(self):
        # Of evaluation, too, which has no gradients.
        logs = super().get_metrics_result()
        return {name: value for name, value in logs.items() if name != "gradient_norm"}

    def train_step(self, *arguments):
        if not self.trainable_weights:
            return super().train_step(*arguments)
        return steps.train_step(self, *arguments)

    def test_step(self, *arguments):
        return steps.test_step(self, *arguments)

    def loss_weight(self, data):
        """What a part of a batch counts in the loss of all: its images."""
        images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return keras.ops.shape(keras.tree.flatten(images)[0])[0]

    def loss_and_outputs(self, data):
        """(loss, (outputs, labels, sample weights)) of one training step.

        Args:
            data: a batch of what `fit` takes.
        """
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        outputs = self(images, training=True)
        loss = self.compute_loss(
            x=images, y=labels, y_pred=outputs, sample_weight=weights, training=True
        )
        return engines.current().loss_of_part(loss), (outputs, labels, weights)

    def record_step(self, num_images, outputs, loss, gradients):
        """Counts one training step, before its (scaled) gradients are applied; returns its logs."""
        outputs, labels, weights = outputs
        self.metrics[0].update_state(loss, sample_weight=num_images)  # of the loss
        logs = self.compute_metrics(None, labels, outputs, weights)
        norm = self._untracked.gradient_norm
        norm.count_step(gradients, self.optimizer)
        return {**logs, norm.name: norm.result()}

    def evaluation_outputs(self, data):
        """The outputs for a batch of what `evaluate` takes."""
        images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self(images, training=False)

    def record_evaluation(self, outputs, labels, weights, images=None):
        """Counts one step of `evaluate`; returns its logs."""
        loss = self.compute_loss(
            x=images, y=labels, y_pred=outputs, sample_weight=weights, training=False
        )
        num_images = keras.ops.shape(outputs)[0]
        self.metrics[0].update_state(engines.current().loss_of_part(loss), sample_weight=num_images)
        return self.compute_metrics(images, labels, outputs, weights)

    @property
    def temperature(self):
        return self._temperature

    @temperature.setter
    def temperature(self, temperature):
        temperature = checked_temperature(temperature)
        if temperature != 1 and self.activation is not keras.activations.linear:
            raise ValueError(
                "A temperature divides logits, and this classifier's outputs are those of its "
                f"activation {keras.activations.serialize(self.activation)!r}. Make it without "
                "one; exports and recipes.predict give probabilities all the same."
            )
        self._temperature = temperature

    def probabilities(self, outputs):
        """The probabilities of what the model puts out, after its temperature.

        Args:
            outputs: (B, num_classes), as of `predict`.

        Returns:
            float32 (B, num_classes), a NumPy array; an activation's outputs as they are.
        """
        outputs = keras.ops.convert_to_numpy(outputs)
        if self.activation is not keras.activations.linear:
            return outputs.astype("float32")
        return probabilities_of(outputs, self.temperature, self.multi_label)

    def get_config(self):
        of_some = {
            "multi_label": self.multi_label,
            "temperature": None if self.temperature == 1 else self.temperature,
            "quantization": quantization_config(self._linear_layers()),
            "frozen": frozen_layers(self.layers_of_head()),
        }
        return {
            **{name: value for name, value in of_some.items() if value},
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "activation": keras.activations.serialize(self.activation),
            "head_init_scale": self.head_init_scale,
            "class_names": None if self.class_names is None else list(self.class_names),
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        quantization, frozen = config.pop("quantization", {}), config.pop("frozen", [])
        temperature = config.pop("temperature", 1.0)
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        classifier = cls(**{**config, "backbone": backbone})
        classifier.temperature = temperature
        quantize_again(classifier._linear_layers(), quantization)
        freeze_again(classifier.layers_of_head(), frozen)
        return classifier

    def classify(self, features):
        """The outputs for the backbone's features: the head alone.

        With it, features and outputs come from one graph, as Grad-CAM needs them:

            features = classifier.backbone.output
            both = keras.Model(classifier.backbone.input, [features, classifier.classify(features)])

        Args:
            features: (B, h, w, C), of the backbone; a tensor, or symbolic.

        Returns:
            (B, num_classes), as a call of the classifier.
        """
        for layer in self.layers_of_head():
            features = layer(features)
        return features

    def layers_of_head(self):
        """The layers of the head, in the order in which they run."""
        return [self.get_layer(name) for name in _HEAD]

    def _linear_layers(self):
        return {"head": self.get_layer("head")}


_HEAD = ("pool", "norm", "head")
_OF_SEVERAL_LABELS = (keras.activations.linear, keras.activations.sigmoid)


def make_head(num_classes, activation=None, init_scale=1.0, dtype=None):
    """The layers of the head, in the order in which they run; arguments are the classifier's."""
    return [
        keras.layers.GlobalAveragePooling2D(data_format="channels_last", dtype=dtype, name="pool"),
        keras.layers.LayerNormalization(epsilon=1e-6, dtype=dtype, name="norm"),
        keras.layers.Dense(
            num_classes,
            activation=activation,
            kernel_initializer=weight_initializer(init_scale),
            dtype=dtype,
            name="head",
        ),
    ]
