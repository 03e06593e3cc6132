"""Ctrl-C ends a training, also where Keras passes it over."""

import os
import signal

import keras
import numpy as np
import pytest

from recipes.interruption import StopOnInterrupt

pytestmark = pytest.mark.one_backend


class Swallowing(keras.callbacks.Callback):
    """Sends Ctrl-C in the second batch, and passes it over as Keras does."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            try:
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000):  # until the handler has run
                    pass
            except BaseException:
                pass


def fit(*callbacks):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    x, y = np.ones((16, 3)), np.ones((16, 1))
    return model.fit(x, y, batch_size=2, epochs=2, verbose=0, callbacks=list(callbacks))


def test_an_interrupt_that_was_passed_over_is_raised_at_the_next_batch():
    before = signal.getsignal(signal.SIGINT)
    assert len(fit(Swallowing()).epoch) == 2  # without it nothing happens
    stop = StopOnInterrupt()
    with stop.listening(), pytest.raises(KeyboardInterrupt):
        fit(Swallowing(), stop)
    assert signal.getsignal(signal.SIGINT) is before


def test_without_one_nothing_happens():
    stop = StopOnInterrupt()
    with stop.listening():
        assert len(fit(stop).epoch) == 2
