"""What Keras computes, for artefacts to be compared with."""

import keras
import numpy as np

from keras_convnextv2.models import ConvNeXtV2Backbone, ConvNeXtV2Classifier

_BATCH_SIZE = 16


def reference_outputs(model, images, output):
    """The outputs of a model in float32.

    Args:
        model: a backbone or a classifier of any precision.
        images: float32 (N, H, W, C), of a size that may differ from the model's.
        output: "features", "logits" or "probabilities".

    Returns:
        float32 (N, ...).
    """
    model = _in_float32(model, images.shape[1:])
    outputs = []
    for start in range(0, len(images), _BATCH_SIZE):
        batch = keras.ops.convert_to_tensor(images[start : start + _BATCH_SIZE])
        outputs.append(keras.ops.convert_to_numpy(_compute(model, batch, output)))
    return np.concatenate(outputs)


def _compute(model, images, output):
    if output == "features":
        return model(images, training=False)
    if output == "probabilities":
        activation = model.activation
        logits = _logits(model, images)
        linear = keras.activations.linear
        return (keras.activations.softmax if activation is linear else activation)(logits)
    return _logits(model, images)


def _logits(model, images):
    x = model.backbone(images, training=False)
    for name in ("pool", "norm"):
        x = model.get_layer(name)(x)
    head = model.get_layer("head")
    return keras.ops.matmul(x, head.kernel) + head.bias


def _in_float32(model, image_shape):
    """A copy that computes in float32 on images of a shape."""
    backbone = getattr(model, "backbone", model)
    copied = ConvNeXtV2Backbone(
        backbone.variant, image_shape, stem_stride=backbone.stem_stride, dtype="float32"
    )
    if isinstance(model, ConvNeXtV2Classifier):
        copied = ConvNeXtV2Classifier(copied, model.num_classes, activation=model.activation)
    copied.set_weights([weight.astype("float32") for weight in model.get_weights()])
    return copied
