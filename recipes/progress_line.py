"""What a long work says of itself on standard error."""

import sys
import time

from .printable import printable


class ProgressLine:
    """A line on standard error when a work begins, each half minute, and when it ends."""

    def __init__(self, what):
        self.what = what
        self.begun = self.last = time.monotonic()
        self._say("begun")

    def __call__(self, done, total):
        if time.monotonic() - self.last > 30:
            self.last = time.monotonic()
            self._say(f"{done / total:.0%}")

    def end(self, way):
        self._say(f"{way}, {time.monotonic() - self.begun:.1f} s")

    def _say(self, words):
        print(printable(f"{self.what}: {words}"), file=sys.stderr)
