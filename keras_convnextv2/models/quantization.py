"""Linear layers that `model.quantize("int8")` or "int4" has changed, in a model's configuration.

Keras quantizes the Dense layers of a built model. A model of ours is built anew from its arguments
when it is loaded, so its configuration says which layers to quantize again before they get their
weights.
"""

import keras

from keras_convnextv2.insides import layers_within


def quantization_config(linear_layers):
    """What `quantize_again` needs.

    Args:
        linear_layers: {name: Dense}.

    Returns:
        {name: {"mode", "config"}} of those that are quantized.
    """
    return {
        name: {
            "mode": layer.quantization_mode,
            "config": keras.saving.serialize_keras_object(layer.quantization_config),
        }
        for name, layer in linear_layers.items()
        if layer.quantization_mode is not None
    }


def quantize_again(linear_layers, saved):
    """Quantizes layers as `quantization_config` found them; their weights are loaded afterwards."""
    for name, quantization in saved.items():
        config = keras.saving.deserialize_keras_object(quantization["config"])
        linear_layers[name].quantize(quantization["mode"], config=config)


def is_quantized(model):
    """Whether any layer of a model is quantized."""
    return any(getattr(layer, "quantization_mode", None) for layer in layers_within(model))
