"""ConvNeXt V2 and its self-supervised pretraining (FCMAE) in Keras 3."""

from keras_convnextv2.data import preprocess
from keras_convnextv2.fcmae import FCMAE
from keras_convnextv2.latent_prediction import LatentPrediction
from keras_convnextv2.layers import (
    ConvNeXtV2Block,
    GlobalResponseNormalization,
    MaskedDepthwiseConv2D,
    StochasticDepth,
    set_fast_paths,
)
from keras_convnextv2.models import (
    VARIANTS,
    BlockSpec,
    ConvNeXtV2Backbone,
    ConvNeXtV2Classifier,
    Variant,
)
from keras_convnextv2.weights import (
    PRESETS,
    WeightsError,
    from_preset,
    load_weights,
    save_weights,
)

__version__ = "0.1.0"

__all__ = [
    "FCMAE",
    "PRESETS",
    "VARIANTS",
    "BlockSpec",
    "ConvNeXtV2Backbone",
    "ConvNeXtV2Block",
    "ConvNeXtV2Classifier",
    "GlobalResponseNormalization",
    "LatentPrediction",
    "MaskedDepthwiseConv2D",
    "StochasticDepth",
    "Variant",
    "WeightsError",
    "from_preset",
    "load_weights",
    "preprocess",
    "save_weights",
    "set_fast_paths",
]
