"""Which checkpoints of a folder are taken, and which are kept."""

import sys

from keras_convnextv2.runs.checkpoint_folder import (
    checkpoints_in,
    open_checkpoint,
    remove,
    state_of,
)
from keras_convnextv2.runs.errors import CheckpointError


def newest(folder):
    """The newest `Checkpoint` that is whole, or None where there is none at all.

    Those that are not whole are named on standard error, with the reason.

    Raises:
        CheckpointError: there are some, and none is whole.
    """
    reasons = []
    for _, path in checkpoints_in(folder):
        try:
            return open_checkpoint(path)
        except CheckpointError as error:
            reasons.append(f"{path} is passed over: {error}")
            print(reasons[-1], file=sys.stderr)
    if reasons:
        raise CheckpointError(
            f"None of the {len(reasons)} checkpoints in {folder} is whole: {'; '.join(reasons)}. "
            "Name a new folder to begin again; nothing was removed."
        )
    return None


def remove_old(folder, keep, keep_every, best):
    """Removes all checkpoints but those to keep.

    Args:
        folder: Path.
        keep: int, so many of the newest.
        keep_every: int, those at the end of each so many epochs; None: none of them.
        best: name of the best one, or None.
    """
    try:
        for _, path in checkpoints_in(folder)[keep:]:
            if path.name != best and not _is_for_good(path, keep_every):
                remove(path)
    except OSError as error:  # as on Windows, while another program reads it
        print(f"An old checkpoint could not be removed: {error}", file=sys.stderr)


def _is_for_good(path, keep_every):
    if not keep_every:
        return False
    try:
        state = state_of(path)
    except CheckpointError:
        return False
    return state["batch"] == 0 and state["epoch"] % keep_every == 0
