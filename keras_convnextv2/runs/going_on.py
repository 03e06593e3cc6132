"""From a checkpoint to a model, its images and its callbacks; with an error nothing is changed."""

import dataclasses
from collections.abc import Callable

import keras

from keras_convnextv2.runs.differences import differences
from keras_convnextv2.runs.errors import CheckpointError


@dataclasses.dataclass(frozen=True)
class GoingOn:
    """Where a training goes on.

    Args:
        epoch, batch: ints.
        load: function without arguments that gives model and optimizer their values.
        stopped_by: the number of epochs that the training had when a callback ended it; None where
            none did, or where settings have changed since.
        remarks: list of str, what of the checkpoint is not gone on with.
    """

    epoch: int
    batch: int
    load: Callable
    stopped_by: int | None
    remarks: list

    def is_done(self, epochs):
        """Whether nothing of a training of so many epochs is left."""
        return self.epoch >= epochs or (self.stopped_by is not None and epochs <= self.stopped_by)


def prepare(found, model, batches, callbacks, settings, allow_changes):
    """Reads all of a checkpoint, and tells the images and the callbacks their place.

    Args:
        found: `checkpoint_folder.Checkpoint`.
        model: compiled, and built with its optimizer.
        batches: `ImageBatches`, or None for other data.
        callbacks: list, those that have a state.
        settings: what `settings_of` gives for the model.
        allow_changes: bool.

    Returns:
        GoingOn.

    Raises:
        CheckpointError: it is of another training, or damaged.
    """
    state = found.state
    try:
        lines = differences(state["settings"], settings)
        if lines and not allow_changes:
            raise CheckpointError(
                f"the settings are others: {'; '.join(lines)}. Set them as they were, name a new "
                "folder, or give allow_changes=True"
            )
        read, stays = found.read(model, allow_changes)
        remarks = [f"{words} of other settings, which begin anew" for words in stays]
        epoch, batch, begins_anew = _place(state, batches, allow_changes)
        remarks += _give_states(callbacks, state["callbacks"])
        stopped_by = state["epochs"] if state.get("stopped") and not lines else None
        if stopped_by is not None and type(stopped_by) is not int:
            raise TypeError("epochs")
    except ValueError as error:
        _forget_place(batches)
        raise CheckpointError(f"{found.path} cannot be gone on from: {error}") from error
    except (TypeError, LookupError, AttributeError, RecursionError) as error:
        # It was written by somebody else.
        _forget_place(batches)
        raise CheckpointError(f"{found.path}: its state.json is damaged: {error!r}") from error
    if begins_anew:
        remarks.append("from its first batch, since the images are others")
    rate = None
    if any("learning_rate was" in line for line in lines):
        rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))

    def load():
        read()
        if rate is not None:
            _set_rate(model.optimizer, rate)

    return GoingOn(epoch, batch, load, stopped_by, remarks)


def _give_states(callbacks, states):
    """Gives callbacks what others of their class kept, by their order; what is left, in words."""
    left, remarks = [list(pair) for pair in states], []
    for callback in callbacks:
        name = type(callback).__name__
        place = next((n for n, (of_class, _) in enumerate(left) if of_class == name), None)
        if place is None:
            remarks.append(f"without a state of {name}, which begins anew")
        else:
            callback.set_state(left.pop(place)[1])
    return remarks + [f"without {name}, whose state is left out" for name, _ in left]


def _place(state, batches, allow_changes):
    """(epoch, batch, whether the epoch begins anew) to go on with."""
    epoch, batch = state["epoch"], state["batch"]
    if batches is None or state["data"] is None:
        if batch and not allow_changes:
            raise CheckpointError(
                "it was saved within an epoch of `ImageBatches`, and these data cannot go on there"
            )
        return epoch, 0, bool(batch)
    try:
        batches.restore({**state["data"], "epoch": epoch, "batch": batch})
    except ValueError as error:
        if not allow_changes:
            raise CheckpointError(
                f"{error} Or give allow_changes=True (--allow_changed_settings of the recipes), "
                "which begins the epoch anew with these"
            ) from error
        return epoch, 0, True
    return epoch, batch, False


def _forget_place(batches):
    if batches is not None:
        batches.begin_anew()


def _set_rate(optimizer, rate):
    """Gives an optimizer the number it was compiled with as its rate; schedules stay."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if isinstance(inner.get_config()["learning_rate"], float):
        inner.learning_rate = rate
