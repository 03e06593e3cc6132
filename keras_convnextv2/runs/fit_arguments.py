"""What a `fit` with `Checkpoints` may be given."""

import warnings

import keras

# Of Keras, with a state that they do not tell.
FORGETFUL = (
    keras.callbacks.EarlyStopping,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.ModelCheckpoint,
)


def check_fit(checkpoints, model, batches, callbacks):
    """Raises ValueError where a training could not be saved as it is.

    Args:
        checkpoints: `Checkpoints`, among the callbacks.
        model: compiled.
        batches: `ImageBatches`, or None for other data.
        callbacks: list, all of `fit`.
    """
    if getattr(model, "steps_per_execution", 1) != 1:
        raise ValueError(
            "Checkpoints count batches, each for itself: compile with steps_per_execution=1. "
            f"Received: {model.steps_per_execution}"
        )
    place = next(place for place, c in enumerate(callbacks) if c is checkpoints)
    late = [
        type(c).__name__
        for c in callbacks[place + 1 :]
        if hasattr(c, "get_state") or isinstance(c, keras.callbacks.EarlyStopping)
    ]
    if late:
        raise ValueError(
            "Checkpoints save what the callbacks before them made of an epoch: put them behind "
            f"{', '.join(late)}."
        )
    if checkpoints.every and batches is None:
        warnings.warn(
            f"every={checkpoints.every} is of `ImageBatches`; of other data the place within an "
            "epoch is not known, and it is saved when an epoch ends.",
            stacklevel=6,
        )
