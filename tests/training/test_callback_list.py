"""Logs stay on the device between looks, and a loss that is not finite is seen before a save."""

import io

import keras
import numpy as np
import pytest

from keras_convnextv2.training.callback_list import LazyCallbackList, batches_of_epoch
from keras_convnextv2.training.callbacks import StopOnNonFiniteLoss
from keras_convnextv2.training.progress import ShowProgress
from tests.reference.save_each_epoch import SaveEachEpoch

NUM_BATCHES, NAN_AT = 6, 3  # the batch, from 1, that makes the loss NaN


class CountedLoss:
    """A number on a device, of which each look is counted."""

    looks = 0

    def __init__(self, value):
        self.value = value

    def __float__(self):
        CountedLoss.looks += 1
        return self.value


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Remember(keras.callbacks.Callback):
    """Keeps what it is given at each batch."""

    takes_tensors = True

    def __init__(self):
        super().__init__()
        self.given, self.numbers = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.given.append(logs["loss"])
        self.numbers.append(float(logs["loss"]))  # now: JAX may reuse its memory in the next step


class SaveAtBatches(keras.callbacks.Callback):
    """As someone's own: it does not say that it takes tensors."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_train_batch_begin(self, batch, logs=None):
        self.model.save_weights(self.path)


READS_LOGS = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)


def make_model():
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    return model


def make_data(rng):
    x, y = rng.normal(size=(2 * NUM_BATCHES, 3)), rng.normal(size=(2 * NUM_BATCHES, 2))
    return x.astype("float32"), y.astype("float32")


def fit(model, data, callbacks, epochs=1):
    options = {"add_history": True, "model": model, "verbose": 0, "epochs": epochs}
    return model.fit(
        *data,
        batch_size=2,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=LazyCallbackList(callbacks, steps=NUM_BATCHES, **options),
    )


def finite_weights(path):
    model = make_model()
    model.load_weights(path)
    return all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.one_backend
@pytest.mark.parametrize(("every", "looks"), [(1, 200), (50, 4), (70, 2)])
def test_a_loss_on_the_device_is_looked_at_every_so_many_batches(every, looks):
    callbacks = LazyCallbackList([StopOnNonFiniteLoss(every)])
    CountedLoss.looks = 0
    for batch in range(200):
        callbacks.on_train_batch_end(batch, {"loss": CountedLoss(0.5)})
    assert CountedLoss.looks == looks
    callbacks.on_epoch_end(0, {"loss": CountedLoss(0.5)})
    assert CountedLoss.looks > looks


@pytest.mark.one_backend
@pytest.mark.parametrize("file", [io.StringIO(), Terminal()], ids=["file", "terminal"])
def test_the_progress_looks_at_metrics_by_the_clock(file):
    progress = ShowProgress(800, 100, "training", file)
    callbacks = LazyCallbackList([progress], epochs=1, steps=100)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    progress.seconds_between_metrics = 1000
    CountedLoss.looks = 0
    for batch in range(100):
        callbacks.on_train_batch_end(batch, {"loss": CountedLoss(0.5)})
    assert CountedLoss.looks == (1 if file.isatty() else 0)
    progress.seconds_between_metrics = -1  # always
    callbacks.on_train_batch_end(99, {"loss": CountedLoss(0.375)})
    assert CountedLoss.looks == (2 if file.isatty() else 0)
    callbacks.on_epoch_end(0, {"loss": 0.25})
    callbacks.on_train_end()
    assert "epoch 1/1: loss 0.25" in file.getvalue()


@pytest.mark.one_backend
def test_one_callback_that_may_save_at_a_batch_has_all_losses_looked_at():
    for other in (
        keras.callbacks.ModelCheckpoint("model.keras", save_freq=7),
        keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: None),
    ):
        seen = Remember()
        callbacks = LazyCallbackList([StopOnNonFiniteLoss(), seen, other])
        for batch in range(3):
            callbacks.on_train_batch_end(batch, {"loss": CountedLoss(0.5)})
        assert seen.given == [0.5] * 3
        with pytest.raises(AttributeError):  # it raised what it could not yet say of no model
            callbacks.on_train_batch_end(3, {"loss": CountedLoss(float("nan"))})


def test_a_training_step_s_logs_come_as_they_are(rng):
    lazy, eager = Remember(), Remember()
    history = fit(make_model(), make_data(rng), [lazy, StopOnNonFiniteLoss()]).history
    assert len(lazy.given) == NUM_BATCHES
    assert all(keras.ops.is_tensor(loss) for loss in lazy.given)
    assert lazy.numbers[-1] == pytest.approx(history["loss"][0], rel=1e-6)
    data = make_data(rng)
    fit(make_model(), data, [eager, READS_LOGS])
    assert all(isinstance(loss, float) for loss in eager.given)


def test_what_fcmae_logs_stays_on_the_device_and_stays_nan(make_fcmae, rng):
    fcmae = make_fcmae()
    fcmae.compile()
    images = rng.normal(size=(NUM_BATCHES, 16, 24, 3)).astype("float32")
    images[NAN_AT - 1] = np.nan
    seen = Remember()
    with pytest.raises(FloatingPointError, match=f"The loss is nan at step {NUM_BATCHES}") as error:
        fcmae.fit(images, batch_size=1, shuffle=False, verbose=0, callbacks=[seen])
    assert f"not looked at in the {NUM_BATCHES - 1} steps before" in str(error.value)
    assert all(keras.ops.is_tensor(loss) for loss in seen.given)
    finite = np.isfinite(seen.numbers)
    np.testing.assert_array_equal(finite, np.arange(NUM_BATCHES) < NAN_AT - 1)


def test_nothing_is_saved_between_a_nan_and_the_look_at_an_epoch_s_end(rng, tmp_path):
    data, path = make_data(rng), tmp_path / "last.keras"
    model = make_model()
    fit(model, data, [StopOnNonFiniteLoss(), SaveEachEpoch(path)])
    before = path.read_bytes()
    data[0][2 * NAN_AT - 1] = np.nan
    with pytest.raises(FloatingPointError, match="The loss is nan"):
        fit(model, data, [StopOnNonFiniteLoss(), SaveEachEpoch(path)])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "make_saver",
    [
        lambda path: keras.callbacks.ModelCheckpoint(path, save_weights_only=True, save_freq=1),
        SaveAtBatches,
    ],
)
@pytest.mark.parametrize(
    "in_list",
    [
        fit,
        lambda model, data, callbacks: model.fit(
            *data, batch_size=2, shuffle=False, verbose=0, callbacks=callbacks
        ),
    ],
    ids=["lazy", "keras"],
)
def test_a_save_at_a_batch_comes_after_the_look(rng, tmp_path, make_saver, in_list):
    data, path = make_data(rng), str(tmp_path / "model.weights.h5")
    data[0][2 * NAN_AT - 1] = np.nan
    with pytest.raises(FloatingPointError, match=f"The loss is nan at step {NAN_AT}, ") as error:
        in_list(make_model(), data, [StopOnNonFiniteLoss(), make_saver(path)])
    assert "not looked at" not in str(error.value)
    assert finite_weights(path)


def test_fcmae_watches_before_the_callbacks_of_a_list_of_keras(make_fcmae, rng, tmp_path):
    fcmae = make_fcmae()
    fcmae.compile()
    images = rng.normal(size=(4, 16, 24, 3)).astype("float32")
    path = tmp_path / "last.keras"

    def callbacks():
        return keras.callbacks.CallbackList(
            [SaveEachEpoch(path)], add_history=True, model=fcmae, epochs=1, steps=2
        )

    history = fcmae.fit(images, batch_size=2, verbose=0, callbacks=callbacks())
    assert np.isfinite(history.history["loss"]).all()
    before = path.read_bytes()
    images[3] = np.nan
    with pytest.raises(FloatingPointError, match="The loss is nan"):
        fcmae.fit(images, batch_size=2, verbose=0, callbacks=callbacks())
    assert path.read_bytes() == before


@pytest.mark.one_backend
def test_the_number_of_batches_is_known_of_each_form_that_keras_knows_it_of():
    import tensorflow as tf
    import torch

    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(())

    images, hidden = np.zeros((10, 8, 8, 3)), np.zeros((10, 2, 2))
    dataset = tf.data.Dataset.from_tensor_slices(images)
    loader = torch.utils.data.DataLoader
    for x, expected in (
        ({"images": images, "hidden": hidden}, 3),
        (dataset.batch(4), 3),
        (dataset.repeat().batch(4), None),
        (loader(torch.utils.data.TensorDataset(torch.zeros(10)), 4), 3),
        (loader(Endless(), 4), None),
        (iter([images]), None),
    ):
        assert batches_of_epoch(x, 4, {}) == expected


@pytest.mark.parametrize("options", [{}, {"validation_split": 0.3}, {"steps_per_epoch": 1}])
def test_callbacks_are_told_how_many_batches_come_whatever_is_printed(make_fcmae, rng, options):
    told = []

    class Look(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            told.append(self.params["steps"])

    fcmae, images = make_fcmae(), rng.normal(size=(10, 16, 24, 3)).astype("float32")
    fcmae.compile()
    for verbose in (0, 2):
        fcmae.fit(images, batch_size=4, verbose=verbose, callbacks=[Look()], **options)
    assert told[0] == told[1] is not None
