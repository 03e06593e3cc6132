"""The teacher: the moving average of the student's weights."""

import math

import keras


def make_teacher(student):
    """A backbone with the weights of `student`, which is not trained.

    Raises:
        ValueError: its weights are kept in half precision.
    """
    kept_in = student.dtype_policy.variable_dtype
    if kept_in not in ("float32", "float64"):
        raise ValueError(
            "A moving average needs weights in float32, since its steps are lost in fewer bits: "
            f"give the backbone dtype='mixed_{kept_in}'. Received weights in {kept_in}."
        )
    config = {**student.get_config(), "drop_path_rate": 0.0, "name": "teacher"}
    teacher = type(student).from_config(config)
    teacher.trainable = False
    copy_weights(student, teacher)
    return teacher


def copy_weights(student, teacher):
    """Gives the teacher the student's weights."""
    for average, weight in averaged_pairs(student, teacher):
        average.assign(keras.ops.copy(weight.value))  # on JAX the two would share their memory


def averaged_pairs(student, teacher):
    """[(weight of the teacher, weight of the student)], of all that are floats."""
    of_both = zip(_floats(teacher), _floats(student), strict=True)
    return [(average, weight) for average, weight in of_both]


def momentum_at(update, momentum, num_updates):
    """The momentum of an update, counted from 0: from `momentum` to 1 by half a cosine.

    Args:
        update: int or scalar tensor.
        momentum: float, the first.
        num_updates: int, those until it is 1, which stays; None for a momentum that stays.

    Returns:
        float, or a float32 scalar.
    """
    if num_updates is None:
        return momentum
    share = keras.ops.clip(keras.ops.cast(update, "float32") / num_updates, 0.0, 1.0)
    return 1.0 - (1.0 - momentum) * 0.5 * (1.0 + keras.ops.cos(math.pi * share))


def follow(student, teacher, share):
    """Moves the teacher a share of the way to the student.

    Args:
        student, teacher: backbones.
        share: scalar tensor, 1 - momentum.
    """
    for average, weight in averaged_pairs(student, teacher):
        change = keras.ops.subtract(weight, average) * keras.ops.cast(share, average.dtype)
        average.assign(keras.ops.add(average, change))


def _floats(model):
    return [weight for weight in model.weights if keras.backend.is_float_dtype(weight.dtype)]
