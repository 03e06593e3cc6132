"""Keeps the end of what a program writes to standard error, and shows it if the program crashes.

`quiet_logs` starts this file as a program of its own, which outlives a crash of the first, and
gives it that output as standard input.
"""

import os
import signal

MARK = b"\0the program ended by itself\0"  # written last, unless it crashes
_NUM_BYTES = 20_000
_HEADING = b"The program crashed. What libraries wrote last:\n"


def keep():
    """Reads standard input to its end; shows the last of it where `MARK` was not in it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program
    words, ended = b"", False
    while read := os.read(0, 1 << 16):
        words += read
        ended = ended or MARK in words
        words = words[-_NUM_BYTES:]
    if words and not ended:
        os.write(2, _HEADING + words)


if __name__ == "__main__":
    keep()
