"""What the weights of a model are called, and their shapes, by its own layers."""

import collections
import dataclasses
import functools
import random
import re
from concurrent.futures import ThreadPoolExecutor

import keras

from keras_convnextv2.fcmae.decoder import FCMAEDecoder
from keras_convnextv2.models.backbone import make_layers
from keras_convnextv2.models.classifier import make_head
from keras_convnextv2.models.named_variables import (
    Weight,
    named_variables,
    numbered,
    snake_case,
)
from keras_convnextv2.models.variants import NUM_STAGES

_DTYPE = "float32"  # whatever Keras's own is: names and shapes are the same
_DECODER, _DECODER_BLOCK = "decoder", "decoder/block0"


# A layer's name, where Keras saves the first of such layers, and its `Weight`s.
_Part = collections.namedtuple("_Part", "layer place weights")


def weights_of(sizes):
    """Yields the `Weight`s of a model of some `Sizes`, for which no memory is taken."""
    depths = {f"stage{stage}_block0": depth for stage, depth in enumerate(sizes.variant.depths)}
    variant = dataclasses.replace(sizes.variant, depths=(1,) * NUM_STAGES)
    decoder = sizes.decoder
    if decoder is not None:
        depths[_DECODER_BLOCK] = decoder.depth
        decoder = dataclasses.replace(decoder, depth=1)
    counts = collections.Counter()
    for part in _parts_of(dataclasses.replace(sizes, variant=variant, decoder=decoder)):
        for block in range(depths.get(part.layer, 1)):
            layer = re.sub("block0$", f"block{block}", part.layer)
            place = numbered(part.place, counts[part.place])
            counts[part.place] += 1
            for weight in part.weights:
                yield Weight(
                    layer + weight.name.removeprefix(part.layer),
                    weight.shape,
                    place + weight.saved_as.removeprefix(part.place),
                )


@functools.lru_cache(maxsize=64)
def _parts_of(sizes):
    # Keras keeps for each thread the names it has given, its scopes, and which variables are to
    # get values later. In a thread of our own, nothing of that changes for the caller.
    drawn = random.getstate()  # initializers take their seeds from it
    try:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(_make_parts, sizes).result()
    finally:
        random.setstate(drawn)


def _make_parts(sizes):
    with keras.StatelessScope(initialize_variables=False):
        layers = list(make_layers(sizes.variant, sizes.stem_stride, dtype=_DTYPE).values())
        shape = _build(layers, (None, None, None, sizes.channels))
        if sizes.num_classes is not None:
            head = make_head(sizes.num_classes, dtype=_DTYPE)
            _build(head, shape)
            layers += head
        parts = [_part(layer, layer.name, f"layers/{snake_case(layer)}") for layer in layers]
        if sizes.decoder is not None:
            width, depth, num_values = dataclasses.astuple(sizes.decoder)
            decoder = FCMAEDecoder(num_values, width, depth, dtype=_DTYPE, name=_DECODER)
            decoder.build([shape])
            block = decoder.blocks[0]
            block = _part(block, _DECODER_BLOCK, f"{_DECODER}/blocks/{snake_case(block)}")
            whole = _part(decoder, _DECODER, _DECODER)
            rest = [weight for weight in whole.weights if weight not in block.weights]
            parts += [whole._replace(weights=rest), block]
        return parts


def _part(layer, name, place):
    return _Part(name, place, [weight for weight, _ in named_variables(layer, name, place)])


def _build(layers, shape):
    """Builds layers, each for the outputs of the one before; gives the shape of the last's."""
    for layer in layers:
        if isinstance(layer, keras.Sequential):  # its own `build` would call its layers
            shape = _build(layer.layers, shape)
        else:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
    return shape
