"""Linear layers that `enable_lora` has changed, as if they were plain ones.

Keras keeps their kernel as it was and adds the product of two narrow matrices to it.
"""

import keras

from keras_convnextv2.insides import layers_within


class MergedKernel:
    """The kernel of a linear layer with LoRA as one weight: what the layer computes with.

    Args:
        layer: a `keras.layers.Dense` after `enable_lora`.

    Attributes:
        variable: the layer's own kernel, without what LoRA adds.
        shape, dtype: of that.
    """

    def __init__(self, layer):
        self._layer = layer
        self.variable = next(weight for weight in layer.weights if weight.name == "kernel")
        self.shape, self.dtype = self.variable.shape, self.variable.dtype

    @property
    def value(self):
        """The sum, in the kernel's dtype; that of `Dense.kernel` is the one of computing."""
        ops, layer = keras.ops, self._layer
        added = ops.matmul(layer.lora_kernel_a, layer.lora_kernel_b)
        scaled = added * (layer.lora_alpha / layer.lora_rank)
        return ops.cast(ops.cast(self.variable, scaled.dtype) + scaled, self.dtype)

    def assign(self, value):
        """Makes this the kernel, to which LoRA adds nothing, as after `enable_lora`."""
        self.variable.assign(value)
        second = self._layer.lora_kernel_b
        second.assign(keras.ops.zeros(second.shape, second.dtype))


def merged_kernels(model):
    """{id of the kernel's variable: `MergedKernel`} of the layers with LoRA."""
    layers = [layer for layer in layers_within(model) if getattr(layer, "lora_enabled", False)]
    return {id(kernel.variable): kernel for kernel in map(MergedKernel, layers)}


def plain_weights(layer):
    """The weights that the layer would have without LoRA: variables, or a `MergedKernel`."""
    merged = merged_kernels(layer)
    added = ("lora_kernel_a", "lora_kernel_b")
    return [
        merged.get(id(weight), weight)
        for weight in layer.weights
        if not merged or weight.name not in added
    ]
