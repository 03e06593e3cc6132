import io
import re

import keras
import pytest

from keras_convnextv2.training.progress import ShowProgress

pytestmark = pytest.mark.one_backend

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def lines_of(epochs, steps, seconds_between_lines=30, first_epoch=0, hidden=()):
    file = io.StringIO()
    progress = ShowProgress(
        8 * steps, steps_per_epoch=steps, description="training", file=file, hidden=hidden
    )
    progress.seconds_between_lines = seconds_between_lines
    progress.set_params({"epochs": epochs})
    progress.on_train_begin()
    for epoch in range(first_epoch, epochs):
        progress.on_epoch_begin(epoch)
        for step in range(steps):
            progress.on_train_batch_end(step, {"loss": 0.5})
        progress.on_epoch_end(epoch, {"loss": 0.25, "val_loss": 0.125})
    progress.on_train_end()
    return file.getvalue().splitlines()


def test_a_line_an_epoch_with_the_rate_and_the_time_left():
    first, second = lines_of(epochs=2, steps=3)
    assert first.startswith("training epoch 1/2: loss 0.25, ") and "images/s" in first
    assert second.endswith("images/s, 0:00 left")


def test_a_fit_that_begins_later_has_no_time_left_at_its_end():
    (line,) = lines_of(epochs=4, steps=3, first_epoch=3)
    assert line.startswith("training epoch 4/4: ") and line.endswith("0:00 left")


def test_figures_that_there_is_no_room_for_are_left_out():
    (line,) = lines_of(epochs=1, steps=3)
    assert "val_loss 0.125" in line
    (line,) = lines_of(epochs=1, steps=3, hidden={"val_loss"})
    assert "loss 0.25" in line and "val_loss" not in line


def test_the_learning_rate_is_shown(rng):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    schedule = keras.optimizers.schedules.PolynomialDecay(0.5, 16, 0.0)
    model.compile(keras.optimizers.SGD(schedule), loss="mse")
    file = io.StringIO()
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    progress = ShowProgress(8, 4, "training", file)
    model.fit(x, y, batch_size=2, epochs=2, verbose=0, callbacks=[progress])
    lines = file.getvalue().splitlines()
    assert [re.search("rate ([^,]*)", line)[1] for line in lines] == ["0.375", "0.25"]


def test_a_first_epoch_of_one_step_has_no_rate_to_show():
    assert lines_of(epochs=1, steps=1) == ["training epoch 1/1: loss 0.25, val_loss 0.125"]


@pytest.mark.parametrize(("seconds", "count"), [(-1, 2 * 3 + 2), (1000, 2)])
def test_lines_in_between_by_the_clock(seconds, count):
    assert len(lines_of(epochs=2, steps=3, seconds_between_lines=seconds)) == count


@pytest.fixture
def shown(monkeypatch):
    """Runs epochs of four steps in a terminal: the lines of the last picture of the bar."""
    monkeypatch.setenv("TERM", "xterm")

    def run(columns, metrics, num_epochs=30, description="fine-tuning"):
        """`metrics`: a list of dicts an epoch: after each step, and when it ends."""
        monkeypatch.setenv("COLUMNS", str(columns))
        file = Terminal()
        progress = ShowProgress(4 * 64, 4, description, file)
        progress.seconds_between_metrics = -1
        progress._steps_a_second = lambda: 5.0
        progress.set_params({"epochs": num_epochs})
        progress.on_train_begin()
        progress.on_epoch_begin(0)
        for epoch, (*of_steps, of_epoch) in enumerate(metrics, start=num_epochs - len(metrics)):
            progress.on_epoch_begin(epoch)
            for step, logs in enumerate(of_steps):
                progress.step = 4 * epoch + step  # as after the epochs before
                progress.on_train_batch_end(step, logs)
            if of_epoch is not None:
                progress.on_epoch_end(epoch, of_epoch)
        progress.close()
        text = _CONTROL.sub("", file.getvalue()).replace("\r", "\n")
        last = text[text.rindex(description) :]
        return [line.rstrip() for line in last.splitlines() if line.strip()]

    return run


EPOCH = [{"loss": 1.234, "accuracy": 0.7734}] * 4
END = {"loss": 1.234, "accuracy": 0.7734, "val_loss": 2.345, "val_accuracy": 0.6719}


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_bar_is_whole_at_60_columns(shown, columns):
    first, second = shown(columns, [[*EPOCH[:2], None]])
    assert max(map(len, (first, second))) <= min(columns, 80)
    assert re.fullmatch(r"fine-tuning \S+[ ]?\S* +98%, 0:00 left", first), first
    assert len(first) == min(columns, 80)
    assert re.fullmatch(r"epoch 30/30: loss 1.234, accuracy 0.7734, 320 images/s", second)


@pytest.mark.parametrize("columns", [40, 60])
def test_what_does_not_fit_goes_into_the_next_line_and_numbers_stay_whole(shown, columns):
    first, *lines = shown(columns, [[*EPOCH, END]])
    assert max(map(len, lines)) <= columns
    assert len(lines) > 1
    expected = "epoch 30/30: loss 1.234, accuracy 0.7734, val_loss 2.345, val_accuracy 0.6719, "
    assert " ".join(lines).startswith(expected)
    parts = {"epoch 30/30:", "loss 1.234,", "accuracy 0.7734,", "val_loss 2.345,"}
    assert all(any(part in line for line in lines) for part in parts)


def test_within_an_epoch_a_metric_is_the_mean_of_as_many_steps_as_an_epoch_has(shown):
    # After the first of four steps: a quarter of this epoch, three of the one before.
    (_, line) = shown(
        60, [[{"accuracy": 0.5}] * 4 + [{"accuracy": 0.25}], [{"accuracy": 1.0}, None]]
    )
    assert "accuracy 0.4375," in line


def test_within_the_first_epoch_it_is_the_mean_so_far_and_an_epoch_s_end_shows_its_own(shown):
    (_, line) = shown(60, [[{"accuracy": 1.0}, {"accuracy": 0.75}, None]])
    assert "accuracy 0.75," in line
    rows = [{"accuracy": 0.5}] * 4
    (_, line) = shown(60, [[*rows, {"accuracy": 0.5}], [*rows, {"accuracy": 0.625}]])
    assert "accuracy 0.625," in line


def test_hours_left_are_told_as_hours(monkeypatch):
    progress = ShowProgress(8, 1, "training")
    progress.num_steps, progress.step = 7323 + 3, 3
    monkeypatch.setattr(progress, "_steps_a_second", lambda: 1.0)
    assert progress._time() == "2:02:03 left"
