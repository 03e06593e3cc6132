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
    fits = keras.ops.equal(_num_misfits(hidden, num_visible), 0.0)
    return keras.ops.where(fits, outputs, keras.ops.cast(float("nan"), outputs.dtype))


def count_misfits(model, hidden):
    """Counts, in a step of `model`, the masks given that do not leave what `mask_ratio` says."""
    if hidden is not None and model.encoder_path == "visible":
        model.misfit_tracker.update_state(_num_misfits(hidden, model.num_visible))


@contextlib.contextmanager
def explain(model):
    """Around `fit` of `model`: a loss that masks made NaN raises a ValueError that says so."""
    try:
        yield
    except FloatingPointError as error:
        if float(model.misfit_tracker.result()) > 0:
            raise ValueError(_misfit(model)) from error
        raise


def check_loss(model, loss):
    """As `explain`, for the loss that `evaluate` found."""
    if np.isnan(loss) and float(model.misfit_tracker.result()) > 0:
        raise ValueError(_misfit(model))


def check_predictions(model, outputs):
    """As `explain`, for the outputs of `predict`."""
    if model.encoder_path == "visible":
        visible = np.sum(outputs["hidden"] == 0, axis=(1, 2))
        if (visible != model.num_visible).any() and np.isnan(outputs["prediction"]).any():
            raise ValueError(_misfit(model))


def _num_misfits(hidden, num_visible):
    """How many of the masks (B, h, w) leave another number visible: float32."""
    ops = keras.ops
    counts = ops.sum(ops.cast(ops.equal(hidden, 0), "int32"), axis=(1, 2))
    return ops.sum(ops.cast(ops.not_equal(counts, num_visible), "float32"))


def _misfit(model):
    return (
        "With encoder_path='visible' a compiled step takes masks that leave "
        f"{model.num_visible} of {model.num_patches} patches visible in each image, as "
        f"mask_ratio={model.mask_ratio} says. Received others. {_DENSE_TAKES_ANY}"
    )
