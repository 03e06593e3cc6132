"""Images from files and folders, as batches that `keras.Model.fit` takes."""

from keras_convnextv2.data.augmentation import flip_and_shift
from keras_convnextv2.data.check import check_images, find_bad_images
from keras_convnextv2.data.framing import Cover
from keras_convnextv2.data.image_dataset import image_dataset
from keras_convnextv2.data.packing import pack_images
from keras_convnextv2.data.pipeline import ImageBatches
from keras_convnextv2.data.preprocessing import preprocess
from keras_convnextv2.data.set_epoch import SetEpoch
from keras_convnextv2.data.sources import (
    ImageSource,
    ImageSourceError,
    ImageSourceWarning,
    PixelRange,
    open_source,
)
from keras_convnextv2.models.normalisation import IMAGENET_MEAN, IMAGENET_STD

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Cover",
    "ImageBatches",
    "ImageSource",
    "ImageSourceError",
    "ImageSourceWarning",
    "PixelRange",
    "SetEpoch",
    "check_images",
    "find_bad_images",
    "flip_and_shift",
    "image_dataset",
    "open_source",
    "pack_images",
    "preprocess",
]
