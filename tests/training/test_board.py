"""What TensorBoard would read: records with their checksums, and the events in them."""

import io
import struct
import sys
import types

import keras
import numpy as np
import pytest
from PIL import Image

from keras_convnextv2.training import board
from keras_convnextv2.training.board import WriteBoard


def crc32c(data):
    """Castagnoli's checksum, bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def masked(data):
    value = crc32c(data)
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def events_of(folder):
    """The events of a folder's one file: length, its checksum, data, its checksum."""
    from tensorboardX.proto import event_pb2

    (path,) = folder.glob("events.out.tfevents.*")
    file, events = io.BytesIO(path.read_bytes()), []
    while header := file.read(8):
        (length,) = struct.unpack("<Q", header)
        assert struct.unpack("<I", file.read(4)) == (masked(header),)
        data = file.read(length)
        assert struct.unpack("<I", file.read(4)) == (masked(data),)
        events.append(event_pb2.Event.FromString(data))
    assert events[0].file_version == "brain.Event:2"
    return events


def scalars_of(folder):
    """{tag: [(step, value)]}"""
    found = {}
    for event in events_of(folder):
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


@pytest.mark.one_backend
def test_the_checksum_is_castagnoli_s():
    assert crc32c(b"123456789") == 0xE3069283  # the check value of its specification


class Optimizer:
    """As far as the callback looks."""

    def __init__(self):
        self.iterations, self.learning_rate = np.int64(0), np.float32(0)

    def step(self):
        self.iterations += 1
        self.learning_rate = np.float32(self.iterations / 8)


class Model:
    def __init__(self):
        self.optimizer = Optimizer()


def run(callback, losses, num_epochs, steps=None):
    """Calls a callback as `fit` does; logs are the means of the epoch so far."""
    model = Model()
    callback.set_model(model)
    callback.set_params({"epochs": num_epochs, "steps": steps})
    callback.on_train_begin()
    for epoch in range(num_epochs):
        callback.on_epoch_begin(epoch)
        for batch in range(len(losses)):
            model.optimizer.step()
            mean = float(np.mean(losses[: batch + 1]))
            callback.on_train_batch_end(batch, {"loss": mean, "gradient_norm": 2 * mean})
        mean = float(np.mean(losses))
        callback.on_epoch_end(epoch, {"loss": mean, "gradient_norm": 2 * mean, "probe_knn": 0.25})
    callback.on_train_end()


@pytest.mark.one_backend
def test_scalars_of_steps_and_of_epochs(tmp_path, monkeypatch):
    seconds = iter(np.arange(100) * 0.5)
    # The callback's clock alone: tensorboardX has a thread that looks at the same one.
    monkeypatch.setattr(board, "time", types.SimpleNamespace(monotonic=lambda: next(seconds)))
    run(WriteBoard(tmp_path, batch_size=16, every=2), [8.0, 4.0, 2.0, 1.0, 0.5], num_epochs=2)
    scalars = scalars_of(tmp_path)
    steps = [2, 4, 6, 8, 10]  # an epoch has five: the sixth is told with the fifth
    # The mean of the two steps since the last time, not that of the epoch.
    losses = [6.0, 1.5, (0.5 + 8) / 2, 3.0, 0.75]
    told = dict(scalars["step/loss"])
    assert told == {step: pytest.approx(loss) for step, loss in zip(steps, losses, strict=True)}
    told = dict(scalars["step/gradient_norm"])
    assert told == {step: pytest.approx(2 * loss) for step, loss in zip(steps, losses, strict=True)}
    assert scalars["step/learning_rate"] == [(step, step / 8) for step in steps]
    seconds = [0.5, 0.5, 0.5 + 0.5, 0.5, 0.5]  # without those between the epochs
    rates = [2 * 16 / of_two for of_two in seconds]
    assert scalars["step/images_per_second"] == list(zip(steps, rates, strict=True))
    assert scalars["epoch/loss"] == [(1, pytest.approx(3.1)), (2, pytest.approx(3.1))]
    assert scalars["epoch/probe_knn"] == [(1, 0.25), (2, 0.25)]
    assert scalars["epoch/learning_rate"] == [(1, 5 / 8), (2, 10 / 8)]


@pytest.mark.one_backend
@pytest.mark.parametrize("steps", [None, 3])
def test_epochs_shorter_than_a_look_and_a_second_fit(tmp_path, steps):
    """The steps of a run count, whatever its epochs; those of the fit before are added."""
    callback = WriteBoard(tmp_path, batch_size=16, every=4, first_step=30)
    run(callback, [8.0, 4.0, 2.0], num_epochs=3, steps=steps)
    told = scalars_of(tmp_path)["step/loss"]
    assert [step for step, _ in told] == [34, 38]
    expected = [(8 + 4 + 2 + 8) / 4, (4 + 2 + 8 + 4) / 4]
    assert [loss for _, loss in told] == pytest.approx(expected)


@pytest.mark.one_backend
def test_an_epoch_that_goes_on_tells_what_came_since(tmp_path):
    callback, model = WriteBoard(tmp_path, batch_size=16, every=2), Model()
    callback.set_model(model)
    callback.set_params({"epochs": 1, "steps": 6})
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    losses = [8.0, 6.0, 4.0, 3.0, 2.0, 1.0]
    for batch in range(2, 6):
        model.optimizer.step()
        callback.on_train_batch_end(batch, {"loss": float(np.mean(losses[: batch + 1]))})
    callback.on_epoch_end(0, {"loss": float(np.mean(losses))})
    callback.on_train_end()
    # What the first of them adds to the epoch's mean is not known.
    told = [loss for _, loss in scalars_of(tmp_path)["step/loss"]]
    assert told == pytest.approx([3.0, 1.5])


@pytest.mark.one_backend
def test_pictures_stand_side_by_side(tmp_path, rng):
    images = rng.integers(0, 256, (3, 4, 6, 3), dtype="uint8")
    callback = WriteBoard(
        tmp_path, 16, pictures=lambda: {"pasted": images, "masked": images[:1]}, pictures_every=2
    )
    run(callback, [1.0], num_epochs=3)
    found = [
        (event.step, value.tag, value.image)
        for event in events_of(tmp_path)
        for value in event.summary.value
        if value.WhichOneof("value") == "image"
    ]
    # Every second epoch, and the last.
    assert [(step, tag) for step, tag, _ in found] == [
        (epoch, name) for epoch in (2, 3) for name in ("pasted", "masked")
    ]
    pixels = np.asarray(Image.open(io.BytesIO(found[0][2].encoded_image_string)))
    np.testing.assert_array_equal(pixels, np.concatenate(images, axis=1))


def test_a_pretraining_tells_each_step_s_loss_and_rate(make_fcmae, tmp_path, rng):
    """On JAX the weights of a step are outside the model until somebody asks for them."""
    images = rng.normal(size=(20, 16, 24, 3)).astype("float32")
    fcmae = make_fcmae()
    schedule = keras.optimizers.schedules.PolynomialDecay(1e-3, 16, 0.0)
    fcmae.compile(keras.optimizers.SGD(schedule))
    options = {"batch_size": 5, "epochs": 2, "verbose": 0}
    board = WriteBoard(tmp_path, batch_size=5, every=1)
    history = fcmae.fit(images, callbacks=[board], **options).history
    scalars = scalars_of(tmp_path)
    told = scalars["step/learning_rate"]
    assert [step for step, _ in told] == list(range(1, 9))
    rates = [1e-3 * (1 - step / 16) for step in range(1, 9)]
    np.testing.assert_allclose([rate for _, rate in told], rates, rtol=1e-6)
    by_epoch = np.reshape([loss for _, loss in scalars["step/loss"]], (2, 4)).mean(axis=1)
    np.testing.assert_allclose(by_epoch, history["loss"], rtol=1e-5)  # float32 sums of 4
    assert [step for step, _ in scalars["epoch/gradient_norm"]] == [1, 2]


@pytest.mark.one_backend
def test_what_is_missing_or_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="`every`.*Received: 0"):
        WriteBoard(tmp_path, 16, every=0)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)  # as where it is not installed
    with pytest.raises(ModuleNotFoundError, match=r"keras-convnextv2\[recipes\]"):
        WriteBoard(tmp_path, 16).on_train_begin()
