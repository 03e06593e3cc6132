"""Which layers of a model are not trained, in its configuration.

A model of ours is built anew from its arguments when it is loaded or cloned, all of it trainable.
"""

import keras

from keras_convnextv2.insides import layers_directly_within


def frozen_layers(layers):
    """Names of the layers, and of layers within them, that are not trainable, as "stem/conv".

    Not of inputs, which Keras numbers: the same model would have other names each time.
    """
    return [
        name
        for name, layer in _named(layers)
        if not (layer.trainable or isinstance(layer, keras.layers.InputLayer))
    ]


def freeze_again(layers, names):
    """Gives all layers the `trainable` that `frozen_layers` found."""
    names = set(names)
    for name, layer in _named(layers):  # the outer before the inner, which it changes
        if layer.trainable == (name in names):
            layer.trainable = name not in names


def _named(layers, before=""):
    for layer in layers:
        yield before + layer.name, layer
        yield from _named(layers_directly_within(layer), f"{before}{layer.name}/")
