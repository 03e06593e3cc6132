"""Self-supervised pretraining that predicts features in place of pixels."""

from keras_convnextv2.latent_prediction.model import LatentPrediction

__all__ = ["LatentPrediction"]
