"""Every constructor argument survives `get_config`, judged by what the rebuilt layer does."""

import inspect

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.fcmae.decoder import FCMAEDecoder
from keras_convnextv2.layers.layer_scale import LayerScale
from keras_convnextv2.layers.regions import MaskedMap
from keras_convnextv2.layers.response_variants.batch_normalization import MaskedBatchNormalization
from keras_convnextv2.layers.response_variants.cbam import ConvolutionalBlockAttention
from keras_convnextv2.layers.response_variants.layer_normalization import ResponseLayerNormalization
from keras_convnextv2.layers.response_variants.local_response_normalization import (
    LocalResponseNormalization,
)
from keras_convnextv2.layers.response_variants.response_normalization import ResponseNormalization
from keras_convnextv2.layers.response_variants.squeeze_excite import SqueezeExcite
from tests.reference.random_weights import randomize

# No value is its argument's default.
LAYERS = {
    kc.GlobalResponseNormalization: {"epsilon": 0.3},
    kc.MaskedDepthwiseConv2D: {"kernel_size": 3},
    kc.StochasticDepth: {"rate": 0.4, "seed": 11},
    kc.ConvNeXtV2Block: {
        "width": 3,
        "drop_path_rate": 0.4,
        "seed": 12,
        "spec": kc.BlockSpec("none", layer_scale=0.5),
    },
    LayerScale: {"initial": 0.5},
    ResponseNormalization: {
        "aggregation": "l1",
        "normalisation": "standardise",
        "residual": False,
        "affine": False,
        "epsilon": 0.3,
    },
    LocalResponseNormalization: {"radius": 1, "bias": 1.5, "alpha": 0.5, "beta": 0.6},
    ResponseLayerNormalization: {"epsilon": 0.3},
    MaskedBatchNormalization: {"momentum": 0.5, "epsilon": 0.3},
    SqueezeExcite: {"reduction": 2},
    ConvolutionalBlockAttention: {"reduction": 2, "kernel_size": 3},
    FCMAEDecoder: {"num_values": 7, "width": 5, "depth": 2},
}
HIDDEN = np.array([[[1, 0, 1], [0, 1, 1]]] * 8, "int32")


def rebuilt(layer):
    return keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))


def output(layer, x):
    arguments = {}
    if isinstance(layer, FCMAEDecoder):
        x, arguments = [x], {"region": MaskedMap(HIDDEN)}
    if "training" in inspect.signature(layer.call).parameters:
        arguments["training"] = True
    return keras.ops.convert_to_numpy(layer(x, **arguments))


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_the_cases_above_give_every_argument_a_value_other_than_its_default(kind):
    parameters = dict(inspect.signature(kind).parameters)
    del parameters["kwargs"]
    assert set(parameters) == set(LAYERS[kind])
    for name, parameter in parameters.items():
        assert parameter.default != LAYERS[kind][name]


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_a_layer_rebuilt_from_its_config_has_equal_arguments(kind):
    layer = rebuilt(kind(**LAYERS[kind], name="renamed", dtype="mixed_bfloat16"))
    assert {name: getattr(layer, name) for name in LAYERS[kind]} == LAYERS[kind]
    assert layer.name == "renamed"
    assert layer.dtype_policy.name == "mixed_bfloat16"


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_a_layer_rebuilt_from_its_config_behaves_equally(rng, kind):
    layer = kind(**LAYERS[kind])
    x = rng.normal(size=(8, 2, 3, 3)).astype("float32")
    layer.build([x.shape] if isinstance(layer, FCMAEDecoder) else x.shape)
    randomize(layer, rng)
    copy = rebuilt(layer)
    copy.set_weights(layer.get_weights())
    # The same program on the same numbers; with equal seeds stochastic depth draws equally too.
    np.testing.assert_array_equal(output(layer, x), output(copy, x))


@pytest.mark.parametrize("argument", ["width", "depth"])
@pytest.mark.parametrize("value", [0, 1.5])
def test_the_decoder_refuses_a_bad_size(argument, value):
    with pytest.raises(
        ValueError, match=f"decoder's {argument} must be a positive int. Received: {value}"
    ):
        FCMAEDecoder(num_values=7, **{argument: value})
