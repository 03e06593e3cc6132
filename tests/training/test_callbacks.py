import json
import types

import keras
import numpy as np
import pytest

from keras_convnextv2.training.callbacks import StopOnNonFiniteLoss, WriteMetrics


def make_model(learning_rate=0.1):
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    model.compile(optimizer=keras.optimizers.SGD(learning_rate), loss="mse")
    return model


@pytest.fixture
def data(rng):
    return rng.normal(size=(8, 3)).astype("float32"), rng.normal(size=(8, 2)).astype("float32")


def test_write_metrics_appends_one_json_line_an_epoch(tmp_path, data):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 0}\n')
    model = make_model(keras.optimizers.schedules.PolynomialDecay(0.1, 10))
    history = model.fit(
        *data,
        batch_size=4,
        epochs=3,
        verbose=0,
        validation_data=data,
        callbacks=[WriteMetrics(path, images_per_epoch=8, first_step=5)],
    ).history
    first, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert first == {"epoch": 0}
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["step"] for line in lines] == [5 + 2, 5 + 4, 5 + 6]
    assert [line["loss"] for line in lines] == pytest.approx(history["loss"], rel=1e-12)
    assert [line["val_loss"] for line in lines] == pytest.approx(history["val_loss"], rel=1e-12)
    # Linear decay, 0.1 to 0.0001 in ten steps; float32.
    expected = [0.1 - 0.0999 * step / 10 for step in (2, 4, 6)]
    assert [line["learning_rate"] for line in lines] == pytest.approx(expected, rel=1e-5)
    for line in lines:
        assert line["seconds"] >= 0
        # `seconds` is written rounded to milliseconds.
        assert 8 / (line["seconds"] + 6e-4) <= line["images_per_second"] * 1.001
        assert line["images_per_second"] <= 8 / max(line["seconds"] - 6e-4, 1e-9) * 1.001


def test_a_finite_loss_passes(data):
    history = make_model().fit(*data, verbose=0, callbacks=[StopOnNonFiniteLoss()]).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("loss", ["nan", "inf", "-inf"])
def test_a_loss_that_is_not_finite_raises_with_step_and_rate_and_advice(loss):
    callback = StopOnNonFiniteLoss()
    callback.set_model(types.SimpleNamespace(optimizer=keras.optimizers.SGD(0.25)))
    callback.model.optimizer.iterations.assign(41)
    with pytest.raises(
        FloatingPointError,
        match=f"The loss is {loss} at step 41, with learning rate 0.25.*Try a lower learning rate",
    ):
        callback.on_train_batch_end(0, {"loss": float(loss)})


def test_it_stops_any_model_at_the_step_where_it_happens(data):
    x, y = data
    x[5] = np.nan  # the second batch of four
    with pytest.raises(FloatingPointError, match="The loss is nan at step 2"):
        make_model().fit(
            x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[StopOnNonFiniteLoss()]
        )


@pytest.mark.one_backend
@pytest.mark.parametrize("every", [0, -3, 1.5])
def test_a_number_of_batches_between_looks_that_is_none_is_refused(every):
    with pytest.raises(ValueError, match=f"`every` must be a positive int.*{every}"):
        StopOnNonFiniteLoss(every)
