"""One training at a time in a folder."""

from keras_convnextv2.runs.errors import CheckpointError

_NAME = "training.lock"


def locked(folder):
    """Locks a folder until the lock is released, or the program ends.

    Args:
        folder: Path; made where it is missing.

    Returns:
        A lock, with `release()`.

    Raises:
        CheckpointError: another training is at work there.
    """
    import filelock

    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / _NAME)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise CheckpointError(
            f"Another training is at work in {folder}. Wait for it, or name a new folder."
        ) from None
    return lock
