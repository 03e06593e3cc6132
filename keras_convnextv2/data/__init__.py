"""Images from files and folders, as batches that `keras.Model.fit` takes."""

from keras_convnextv2.data.augmentation_settings import Augmentation
from keras_convnextv2.data.check import check_images, drop_bad_images, find_bad_images
from keras_convnextv2.data.colour_jitter import ColourJitter
from keras_convnextv2.data.evaluation_crop import ResizeThenCrop
from keras_convnextv2.data.framing import Cover
from keras_convnextv2.data.image_dataset import image_dataset
from keras_convnextv2.data.label_smoothing import smooth_labels
from keras_convnextv2.data.mixing import Mixing
from keras_convnextv2.data.packing import pack_images
from keras_convnextv2.data.pipeline import ImageBatches
from keras_convnextv2.data.preprocessing import preprocess
from keras_convnextv2.data.rand_augment import RandAugment
from keras_convnextv2.data.random_erasing import RandomErasing
from keras_convnextv2.data.random_resized_crop import RandomResizedCrop
from keras_convnextv2.data.random_shift import RandomShift
from keras_convnextv2.data.set_epoch import SetEpoch
from keras_convnextv2.data.sources import (
    ImageSource,
    ImageSourceError,
    ImageSourceWarning,
    NoSuchSplitError,
    PixelRange,
    open_source,
)
from keras_convnextv2.data.symmetries import HorizontalFlip, QuarterTurns, VerticalFlip
from keras_convnextv2.models.normalisation import IMAGENET_MEAN, IMAGENET_STD

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Augmentation",
    "ColourJitter",
    "HorizontalFlip",
    "Cover",
    "ImageBatches",
    "ImageSource",
    "ImageSourceError",
    "ImageSourceWarning",
    "Mixing",
    "NoSuchSplitError",
    "PixelRange",
    "QuarterTurns",
    "RandAugment",
    "RandomErasing",
    "RandomResizedCrop",
    "RandomShift",
    "ResizeThenCrop",
    "SetEpoch",
    "VerticalFlip",
    "check_images",
    "drop_bad_images",
    "find_bad_images",
    "image_dataset",
    "open_source",
    "pack_images",
    "preprocess",
    "smooth_labels",
]
