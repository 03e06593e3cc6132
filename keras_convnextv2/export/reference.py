"""What Keras computes, for artefacts to be compared with."""

import keras

from keras_convnextv2.models import ConvNeXtV2Backbone, ConvNeXtV2Classifier
from keras_convnextv2.weights.model_weights import named_weights

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
    # `predict` compiles the model as one; called as it is, JAX would compile each operation.
    copied = _in_float32(model, images.shape[1:], output)
    outputs = copied.predict(images, batch_size=_BATCH_SIZE, verbose=0)
    return model.probabilities(outputs) if output == "probabilities" else outputs


def _in_float32(model, image_shape, output):
    """A copy that computes an output in float32 on images of a shape; logits as they are."""
    backbone = getattr(model, "backbone", model)
    copied = ConvNeXtV2Backbone(
        backbone.variant, image_shape, stem_stride=backbone.stem_stride, dtype="float32"
    )
    if isinstance(model, ConvNeXtV2Classifier):
        activation = model.activation if output == "probabilities" else None
        copied = ConvNeXtV2Classifier(copied, model.num_classes, activation=activation)
    weights = named_weights(model)
    for name, weight in named_weights(copied).items():
        # As NumPy's: JAX would share an array, and a step gives its memory away.
        weight.assign(keras.ops.convert_to_numpy(weights[name].value).astype("float32"))
    return copied
