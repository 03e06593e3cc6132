"""Self-supervised pretraining with a fully convolutional masked autoencoder."""

from keras_convnextv2.fcmae.model import FCMAE

__all__ = ["FCMAE"]
