"""What may stand after GELU in a block: the response, by name.

    @responses.register("mine")
    @keras.saving.register_keras_serializable()
    class Mine(keras.layers.Layer):
        def call(self, x, region):
            mean = region.sum(x) / region.count(x)  # over the visible positions of each image
            return x - keras.ops.cast(mean, x.dtype)

A response is a layer that is called as `response(x, region=region)` with the widened features
(B, H, W, 4C), or those of a strip, and gives their shape and dtype back. `region` is one of
`layers.regions`: what sums over positions must ask it, or hidden positions count too. What it
writes at hidden positions is not read, but must be finite. It is made as
`Mine(name=..., dtype=...)`, and builds the layers within it in its own `build`. A model's
configuration keeps the name, so whoever loads the model registers the class first.

A response may have a method `of_gelu(x, region)` that computes itself of GELU at once.
"""

import keras

from keras_convnextv2.layers import ops
from keras_convnextv2.layers.global_response_normalization import GlobalResponseNormalization
from keras_convnextv2.layers.region_layer import RegionLayer

_classes = {}


def register(name):
    """Decorates a layer class that `BlockSpec(response=name)` then stands for.

    Raises:
        ValueError: the name is another class's.
    """

    def decorate(cls):
        # A module that is loaded again makes its class again.
        taken = _classes.setdefault(name, cls)
        if (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"The response {name!r} is {taken.__name__} already.")
        _classes[name] = cls
        return cls

    return decorate


def names():
    """The names of all responses there are."""
    return tuple(_classes)


def make(response, **options):
    """A new layer of the response's name; `options` are `name` and `dtype`.

    Raises:
        ValueError: there is none of that name.
    """
    if response not in _classes:
        raise ValueError(
            f"`response` must be one of {', '.join(_classes)}. Received: {response!r}. A response "
            "of your own is registered by `keras_convnextv2.layers.responses.register`."
        )
    return _classes[response](**options)


def of_gelu(response, x, region):
    """`response(gelu(x), region)`: at once where the response knows a way."""
    at_once = getattr(response, "of_gelu", None)
    if at_once is not None:
        return at_once(x, region)
    return response(ops.gelu(x), region=region)


register("grn")(GlobalResponseNormalization)


@register("none")
@keras.saving.register_keras_serializable(package="keras_convnextv2")
class NoResponse(RegionLayer):
    """Nothing after GELU, as in ConvNeXt V1: `x` as it is."""

    def call(self, x, region=None):
        return x
