"""A disk that fails: below Python's files, at each write, sync and rename in turn."""

import builtins
import contextlib
import errno
import io
import os

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)


class _Raw(io.FileIO):
    """A file opened for writing, whose writes ask the disk first."""

    disk = None

    def write(self, data):
        self.disk.ask(f"write {os.path.basename(self.name)}")
        return super().write(data)


class FaultyDisk:
    """Counts what is asked of it, and fails at one place from then on or once.

    Args:
        fails_at: the place of the first operation that fails, from 0, or a word that is in it, as
            a file's name; None: none does.
        number: the error's number.
        once: bool, whether the next operation works again; a full disk stays full.

    Attributes:
        operations: list of str, in their order.
    """

    def __init__(self, fails_at=None, number=errno.ENOSPC, once=False):
        self.fails_at, self.number, self.once = fails_at, number, once
        self.operations = []

    def ask(self, operation):
        place = len(self.operations)
        self.operations.append(operation)
        if isinstance(self.fails_at, str) and self.fails_at in operation:
            self.fails_at = place
        if isinstance(self.fails_at, str):
            return
        if self.fails_at is None or place < self.fails_at:
            return
        if place == self.fails_at or not self.once:
            raise OSError(self.number, os.strerror(self.number), operation)

    @contextlib.contextmanager
    def in_use(self, monkeypatch):
        """Within it, files that are opened for writing by their name are on this disk."""
        real_open = builtins.open

        def open_on_disk(file, mode="r", *arguments, **options):
            of_system = isinstance(file, int) or options.get("opener") is not None  # as tempfile's
            if of_system or not set(mode) & set("wxa+"):
                return real_open(file, mode, *arguments, **options)
            self.ask(f"open {os.path.basename(os.fspath(file))}")
            raw = type("Raw", (_Raw,), {"disk": self})(file, mode.replace("b", "").replace("t", ""))
            whole = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            if "b" in mode:
                return whole
            of_text = ("encoding", "errors", "newline")
            text = {name: value for name, value in options.items() if name in of_text}
            return io.TextIOWrapper(whole, **text)

        with monkeypatch.context() as patches:
            patches.setattr(builtins, "open", open_on_disk)
            patches.setattr(io, "open", open_on_disk)
            for name in ("fsync", "replace"):
                patches.setattr(os, name, self._asking(name, getattr(os, name)))
            yield self

    def _asking(self, name, real):
        def asked(*arguments):
            self.ask(name)
            return real(*arguments)

        return asked
