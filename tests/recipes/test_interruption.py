"""Signals end a training between two steps, when it is saved."""

import os
import signal

import keras
import numpy as np
import pytest

from recipes.interruption import StopOnSignal, Stopped

pytestmark = pytest.mark.one_backend


class Saving:
    """In place of `Checkpoints`: what was asked for, and whether it can be saved."""

    folder = "runs/mine/checkpoints"

    def __init__(self, saves=True):
        self.saves, self.num_asked = saves, 0

    def save(self, logs):
        self.num_asked += 1
        return self.saves


class Send(keras.callbacks.Callback):
    """Sends a signal in the second batch, and passes over what it raises, as Keras does."""

    def __init__(self, number, times=1):
        super().__init__()
        self.number, self.times = number, times
        self.batches = []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append(batch)
        if batch == 1:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)
                for _ in range(1000):  # until the handler has run
                    pass


def fit(*callbacks):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    x, y = np.ones((16, 3)), np.ones((16, 1))
    return model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=list(callbacks))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_the_step_when_it_is_saved(number, capfd):
    before = signal.getsignal(number)
    send, saving = Send(number), Saving()
    stop = StopOnSignal(saving)
    with stop.listening(), pytest.raises(Stopped) as caught:
        fit(send, stop)
    assert send.batches == [0, 1] and saving.num_asked == 1
    assert caught.value.number == number
    assert f"stopped by {number.name}; all of it is saved in runs/mine" in str(caught.value)
    assert "once more: at once" in capfd.readouterr().err
    assert signal.getsignal(number) is before


def test_where_the_place_cannot_be_saved_it_goes_on_until_it_can():
    send, saving = Send(signal.SIGINT), Saving(saves=False)
    stop = StopOnSignal(saving)

    class Able(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            saving.saves = True

    with stop.listening(), pytest.raises(Stopped):
        fit(send, Able(), stop)
    assert send.batches == [0, 1, 2, 3]


def test_a_second_signal_ends_it_at_once():
    send, saving = Send(signal.SIGINT, times=2), Saving()
    stop = StopOnSignal(saving)
    with stop.listening(), pytest.raises(KeyboardInterrupt) as caught:
        fit(send, stop)
    assert not isinstance(caught.value, Stopped) and saving.num_asked == 0


def test_without_one_nothing_happens():
    stop = StopOnSignal(Saving())
    with stop.listening():
        assert len(fit(stop).epoch) == 2
