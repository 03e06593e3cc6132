"""Texts from outside, as names of files and of classes, as they may be shown on a terminal."""

import re

# What a terminal obeys, ends a line, turns the direction of a text, or no encoding has.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def one_line(error):
    """The message of an error, `printable`."""
    return printable(" ".join(str(error).split()))


def printable(text):
    """A name from outside as it may be shown: control characters become escapes, as `\\x1b`.

    A file's name or a class's could otherwise move the cursor, change colours or end the line.
    """
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], str(text))
