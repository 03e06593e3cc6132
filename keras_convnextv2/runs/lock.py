"""One program at a time in a folder."""

from keras_convnextv2.runs.errors import CheckpointError
from keras_convnextv2.whole_files import make_folders


def locked(folder, name="training.lock"):
    """Locks a folder until the lock is released, or the program ends.

    Args:
        folder: Path; made where it is missing.
        name: of the file that is locked.

    Returns:
        A lock, with `release()`.

    Raises:
        CheckpointError: another program holds the lock.
    """
    import filelock

    make_folders(folder)
    lock = filelock.FileLock(folder / name)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise CheckpointError(
            f"another program is at work in {folder}. Wait for it, or name a new folder."
        ) from None
    return lock
