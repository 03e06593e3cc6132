"""Masks that a user gives, on the path that computes as many patches in each image.

How many that is must be known when a step is compiled. Where the masks' values are known it is
counted. In a compiled step it is what `mask_ratio` says, and what comes of other masks is NaN,
which `explain` turns into an error that says so.
"""

import contextlib

import keras
import numpy as np

_DENSE_TAKES_ANY = "With encoder_path='dense' FCMAE takes any masks."


def count_visible(hidden):
    """How many patches masks (B, h, w) leave visible in each image.

    Returns:
        int; or None inside a compiled function, where the values are not known.

    Raises:
        ValueError: not the same number in each image, or none.
    """
    try:
        hidden = np.asarray(keras.ops.convert_to_numpy(hidden))
    except (TypeError, NotImplementedError):  # what JAX and TensorFlow raise while they trace
        return None
    counts = np.unique(np.sum(hidden == 0, axis=(1, 2)))
    if len(counts) != 1 or counts[0] == 0:
        raise ValueError(
            "With encoder_path='visible' masks must leave the same number of patches visible in "
            f"each image, at least one. Received masks that leave {counts.tolist()} visible. "
            f"{_DENSE_TAKES_ANY}"
        )
    return int(counts[0])


def nan_where_misfit(outputs, hidden, num_visible):
    """`outputs`, or NaN if any of the masks (B, h, w) does not leave `num_visible` visible.

    The gradient is 0 then, so that a training step leaves the weights finite. `num_visible` is
    None for the path that takes any masks.
    """
    if num_visible is None:
        return outputs
    ops = keras.ops
    counts = ops.sum(ops.cast(ops.equal(hidden, 0), "int32"), axis=(1, 2))
    fits = ops.all(ops.equal(counts, num_visible))
    return ops.where(fits, outputs, ops.cast(float("nan"), outputs.dtype))


@contextlib.contextmanager
def explain(model):
    """Around a run of `model`: what comes of masks that do not fit raises a ValueError."""
    try:
        yield
    except FloatingPointError as error:
        if model.took_masks_in_a_step:
            raise ValueError(_misfit(model, error)) from error
        raise


def check_finite(model, values):
    """Raises the ValueError of `explain` for results of `evaluate` or `predict` that are NaN."""
    if model.took_masks_in_a_step and np.isnan(values).any():
        raise ValueError(_misfit(model, "The result is NaN."))


def _misfit(model, symptom):
    num_patches = model.grid[0] * model.grid[1]
    return (
        f"{symptom} The cause may be the masks given: with encoder_path='visible' a compiled step "
        f"takes masks that leave {model.num_visible} of {num_patches} patches visible in each "
        f"image, as mask_ratio={model.mask_ratio} says. {_DENSE_TAKES_ANY}"
    )
