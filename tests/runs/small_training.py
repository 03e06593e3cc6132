"""A training of epochs of two batches, as the tests of checkpoints save it."""

import keras
import numpy as np

import keras_convnextv2 as kc
from keras_convnextv2.training.optimizers import adamw

SIZES = kc.Variant((1, 1, 1, 1), (4, 4, 8, 8))
IMAGES = np.random.default_rng(0).normal(size=(6, 16, 16, 3)).astype("float32")
LABELS = np.arange(6) % 2


def make_classifier(rate=0.1, **options):
    backbone = kc.ConvNeXtV2Backbone(SIZES, (16, 16, 3), stem_stride=1, **options)
    backbone.normalisation = (0.5,) * 3, (0.25,) * 3
    classifier = kc.ConvNeXtV2Classifier(backbone, 2, class_names=["cat", "dog"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    classifier.compile(adamw(classifier, rate, 0.05), loss, metrics=["accuracy"])
    return classifier


def fit(model, *callbacks, epochs=1):
    options = {"batch_size": 3, "shuffle": False, "verbose": 0}
    return model.fit(IMAGES, LABELS, epochs=epochs, callbacks=list(callbacks), **options)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "training.lock")
