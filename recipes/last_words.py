"""Keeps the end of what libraries write to standard error, and shows it if the program crashes.

`quiet_logs` starts this file as a program of its own, which outlives a crash of the first, and
gives it that output as standard input, and the number of a pipe that has something in it if one of
`SIGNALS` has ended the first: that is no crash, and is said in a line.
"""

import os
import signal
import sys

MARK = b"\0the program ended by itself\0"  # written last, unless it crashes
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_NUM_BYTES = 20_000
_HEADING = (
    b"The program crashed, or was killed; what it saved before is intact. What libraries wrote "
    b"last, which may have nothing to do with it:\n"
)
_NO_ERROR = b"Failed to load jax profiler"  # grain's, wherever there is no JAX
_STOPPED = (
    b"The program was stopped by a signal, SIGTERM or SIGHUP; what it saved before is intact.\n"
)


def keep(of_signals=None):
    """Reads standard input to its end; shows the last of it where `MARK` was not in it.

    Args:
        of_signals: int, the pipe's file descriptor; None where there is none, as on Windows.
    """
    for number in (signal.SIGINT, *SIGNALS):  # they are for the program
        signal.signal(number, signal.SIG_IGN)
    words, ended = b"", False
    while read := os.read(0, 1 << 16):
        words += read
        ended = ended or MARK in words
        words = words[-_NUM_BYTES:]
    if ended:
        return
    if of_signals is not None and os.read(of_signals, 1):
        os.write(2, _STOPPED)
        return
    words = b"".join(line for line in words.splitlines(True) if _NO_ERROR not in line)
    if words:
        os.write(2, _HEADING + words)


if __name__ == "__main__":
    keep(*map(int, sys.argv[1:]))
