import math

import keras
import pytest

from keras_convnextv2.training.schedules import warmup_cosine


def rates(schedule, steps):
    return [float(keras.ops.convert_to_numpy(schedule(step))) for step in steps]


@pytest.mark.parametrize("minimum", [0.0, 0.02])
def test_linear_warm_up_then_half_a_cosine_to_the_minimum(minimum):
    schedule = warmup_cosine(0.8, num_steps=110, num_warmup_steps=10, minimum=minimum)
    expected = {
        0: 0.0,
        1: 0.08,
        5: 0.4,
        10: 0.8,
        35: minimum + (0.8 - minimum) * (1 + math.cos(math.pi / 4)) / 2,
        60: (0.8 + minimum) / 2,
        110: minimum,
        500: minimum,
    }
    # Float32 arithmetic on numbers below 1.
    assert rates(schedule, expected) == pytest.approx(list(expected.values()), rel=1e-5, abs=1e-7)


def test_without_warm_up_the_first_step_has_the_peak():
    schedule = warmup_cosine(0.8, num_steps=100, minimum=0.2)
    # Float32 arithmetic on numbers below 1.
    assert rates(schedule, [0, 50, 100]) == pytest.approx([0.8, 0.5, 0.2], rel=1e-5)


def test_the_rate_changes_at_every_step():
    values = rates(warmup_cosine(0.8, 20, 5), range(21))
    assert values[:6] == sorted(set(values[:6]))
    assert values[5:] == sorted(set(values[5:]), reverse=True)


@pytest.mark.parametrize("num_warmup_steps", [10, 11, -1])
def test_a_warm_up_as_long_as_the_training_is_refused(num_warmup_steps):
    with pytest.raises(
        ValueError, match=f"must be shorter.*{num_warmup_steps} warm-up steps of 10 steps"
    ):
        warmup_cosine(0.8, 10, num_warmup_steps)


def test_a_file_keeps_it():
    schedule = warmup_cosine(0.8, 20, 5, minimum=0.1)
    config = keras.saving.serialize_keras_object(schedule)
    loaded = keras.saving.deserialize_keras_object(config)
    assert rates(loaded, [2, 5, 11, 20]) == rates(schedule, [2, 5, 11, 20])
