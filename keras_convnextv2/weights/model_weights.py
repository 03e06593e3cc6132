"""The weights of our models by name."""

import keras

from keras_convnextv2.fcmae import FCMAE
from keras_convnextv2.models import ConvNeXtV2Backbone, ConvNeXtV2Classifier
from keras_convnextv2.models.quantization import is_quantized
from keras_convnextv2.weights.sizes import Decoder, Sizes
from keras_convnextv2.weights.skeleton import named_variables


def sizes_of(model):
    """The `Sizes` of a backbone, a classifier or an FCMAE.

    Raises:
        ValueError: for any other model.
    """
    if not isinstance(model, (ConvNeXtV2Backbone, ConvNeXtV2Classifier, FCMAE)):
        raise ValueError(
            "Expected a ConvNeXtV2Backbone, a ConvNeXtV2Classifier or an FCMAE. "
            f"Received: {model!r}"
        )
    backbone = getattr(model, "backbone", model)
    decoder = None
    if isinstance(model, FCMAE):
        decoder = Decoder(model.decoder_width, model.decoder_depth, model.decoder.num_values)
    return Sizes(
        variant=backbone.variant,
        stem_stride=backbone.stem_stride,
        channels=backbone.image_shape[-1],
        num_classes=getattr(model, "num_classes", None),
        decoder=decoder,
    )


def named_weights(model):
    """{name as in `Sizes.shapes`: Keras variable, or a `MergedKernel`} of a model.

    Raises:
        ValueError: a model whose linear layers are quantized, or that has weights without a place
            in `Sizes.shapes`.
    """
    if is_quantized(model):
        raise ValueError(
            "The linear layers of this model are quantized, which only `.keras` files and Keras "
            "itself know. Take the model as it was before `quantize`."
        )
    layers = list(getattr(model, "backbone", model).layers)
    if isinstance(model, ConvNeXtV2Classifier):
        layers += [layer for layer in model.layers if layer is not model.backbone]
    if isinstance(model, FCMAE):
        layers.append(model.decoder)
    merged = {id(kernel.variable): kernel for kernel in _merged_kernels(model)}
    found = {
        weight.name: merged.get(id(variable), variable)
        for layer in layers
        for weight, variable in named_variables(layer)
    }
    return {name: found[name] for name in sizes_of(model).shapes()}


class MergedKernel:
    """The kernel of a linear layer with LoRA as one weight: what the layer computes with.

    Args:
        layer: a `keras.layers.Dense` after `enable_lora`.

    Attributes:
        variable: the layer's own kernel, without what LoRA adds.
    """

    def __init__(self, layer):
        self._layer = layer
        self.variable = next(weight for weight in layer.weights if weight.name == "kernel")
        self.shape, self.dtype = self.variable.shape, self.variable.dtype

    @property
    def value(self):
        """Kernel and addition, in the kernel's dtype: `Dense.kernel` has that of computing."""
        added = keras.ops.matmul(self._layer.lora_kernel_a, self._layer.lora_kernel_b)
        return self.variable + keras.ops.cast(
            self._layer.lora_alpha / self._layer.lora_rank * added, self.dtype
        )

    def assign(self, value):
        """Makes this the layer's kernel, and LoRA's addition zero, as `enable_lora` leaves it."""
        self.variable.assign(value)
        self._layer.lora_kernel_b.assign(keras.ops.zeros_like(self._layer.lora_kernel_b))


def _merged_kernels(model):
    return [
        MergedKernel(layer)
        for layer in model._flatten_layers()
        if getattr(layer, "lora_enabled", False)
    ]
