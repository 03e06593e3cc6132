"""What the functional models of this library share."""

import functools

import keras

from keras_convnextv2.insides import keep_variables
from keras_convnextv2.models.compile_config import portable_compile_config
from keras_convnextv2.training import resuming
from keras_convnextv2.training.distribution import engines
from keras_convnextv2.training.distribution.fitting import shared_evaluation, shared_fit
from keras_convnextv2.training.raw_pixels import look_at_images
from keras_convnextv2.training.steps import keep_weights


@keep_variables
class FunctionalModel(keras.Model):
    """A functional model that has its weights after a `fit`, `evaluate` or `predict` that failed.

    It warns once where the images look like pixels, and saves how it was compiled so that every
    backend can go on.
    """

    @functools.wraps(keras.Model.fit)
    def fit(self, x=None, *arguments, **options):
        x = look_at_images(self, x)
        with keep_weights(self):
            return resuming.fit(self, shared_fit(self, super().fit), x, *arguments, **options)

    @functools.wraps(keras.Model.evaluate)
    def evaluate(self, x=None, *arguments, **options):
        x = look_at_images(self, x, options)
        with keep_weights(self), shared_evaluation(self, x, options) as (x, options):
            return super().evaluate(x, *arguments, **options)

    @functools.wraps(keras.Model.predict)
    def predict(self, x, *arguments, **options):
        x = look_at_images(self, x)
        with keep_weights(self):
            return super().predict(x, *arguments, **options)

    def predict_on_batch(self, x):
        """As `keras.Model.predict_on_batch`; on several devices each process computes all of it."""
        return engines.current().outputs_of(self, super().predict_on_batch, x)

    def get_compile_config(self):
        return portable_compile_config(self, super().get_compile_config())
