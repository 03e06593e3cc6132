import io

import pytest

from keras_convnextv2.training.progress import ShowProgress


def lines_of(epochs, steps, seconds_between_lines=30):
    file = io.StringIO()
    progress = ShowProgress(
        images_per_epoch=8 * steps, steps_per_epoch=steps, description="training", file=file
    )
    progress.seconds_between_lines = seconds_between_lines
    progress.set_params({"epochs": epochs})
    progress.on_train_begin()
    for epoch in range(epochs):
        progress.on_epoch_begin(epoch)
        for step in range(steps):
            progress.on_train_batch_end(step, {"loss": 0.5})
        progress.on_epoch_end(epoch, {"loss": 0.25})
    progress.on_train_end()
    return file.getvalue().splitlines()


def test_a_line_an_epoch_with_the_rate_and_the_time_left():
    first, second = lines_of(epochs=2, steps=3)
    assert first.startswith("training epoch 1/2: loss 0.25, ") and "images/s" in first
    assert second.endswith("images/s, 0:00 left")


def test_a_first_epoch_of_one_step_has_no_rate_to_show():
    assert lines_of(epochs=1, steps=1) == ["training epoch 1/1: loss 0.25"]


@pytest.mark.parametrize(("seconds", "count"), [(-1, 2 * 3 + 2), (1000, 2)])
def test_lines_in_between_by_the_clock(seconds, count):
    assert len(lines_of(epochs=2, steps=3, seconds_between_lines=seconds)) == count
