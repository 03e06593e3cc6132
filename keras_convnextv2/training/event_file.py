"""TensorBoard's event file, written by tensorboardX where it is called, so that errors are told.

Its own `SummaryWriter` writes in a thread, which ends in silence when a disk is full; the training
then waits for ever to hand it the next number.
"""

import os
import time
from pathlib import Path

_SECONDS_BETWEEN_FLUSHES = 60


class EventFile:
    """A new event file.

    Args:
        folder: made where it is missing.

    Raises:
        ImportError: tensorboardX is not installed.
        OSError: here and in all that writes: it could not be.
    """

    def __init__(self, folder):
        from tensorboardX import event_file_writer

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # The name tells the second: a clock that goes backwards would lead to a file of before.
        suffix = f".{len(list(folder.iterdir()))}"
        self._writer = event_file_writer.EventsWriter(os.fspath(folder / "events"), suffix)
        self._flushed = time.monotonic()

    def add_scalar(self, name, value, step):
        """Adds a float."""
        from tensorboardX import summary

        self._add(summary.scalar(name, value), step)

    def add_image(self, name, image, step):
        """Adds uint8 (H, W, 3)."""
        from tensorboardX import summary

        self._add(summary.image(name, image, dataformats="HWC"), step)

    def flush(self):
        """Brings all that was added to the disk."""
        self._flushed = time.monotonic()
        self._writer.flush()

    def close(self):
        """Ends the file."""
        self._writer.close()

    def _add(self, summary, step):
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=int(step), summary=summary))
        if time.monotonic() - self._flushed > _SECONDS_BETWEEN_FLUSHES:
            self.flush()
