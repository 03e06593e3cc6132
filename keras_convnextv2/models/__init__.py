"""ConvNeXt V2 as functional Keras models."""

from keras_convnextv2.models.backbone import ConvNeXtV2Backbone
from keras_convnextv2.models.classifier import ConvNeXtV2Classifier
from keras_convnextv2.models.variants import VARIANTS, BlockSpec, Variant

__all__ = ["VARIANTS", "BlockSpec", "ConvNeXtV2Backbone", "ConvNeXtV2Classifier", "Variant"]
