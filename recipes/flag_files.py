"""Files of flags, as --flagfile names them: alike in every locale, or named if they are none."""

import os
import re
from pathlib import Path

_FLAG = re.compile(r"--?[A-Za-z]\w*(=.*)?", re.ASCII)


class FlagFileError(ValueError):
    """A file of flags that cannot be read, or holds something else."""


def expand(words, opened=()):
    """The words of a command line, with those of each --flagfile in its place.

    As absl does it: a line is one flag, `--name=value`; what begins with # or // is a comment; a
    file may name another.

    Args:
        words: list of str.
        opened: paths of the files that the words stand in.

    Raises:
        FlagFileError: naming the file.
    """
    expanded, words = [], iter(words)
    for word in words:
        name, equals, path = word.partition("=")
        if name not in ("--flagfile", "-flagfile"):
            expanded.append(word)
        elif path := path if equals else next(words, ""):
            expanded.extend(_words_of(Path(path.strip()).expanduser(), opened))
    return expanded


def _words_of(path, opened):
    if path in opened:
        raise FlagFileError(f"--flagfile: {path} names itself")
    return expand(lines_of(path), (*opened, path))


def lines_of(path):
    """The flags in a file, a str each.

    Args:
        path: Path.

    Raises:
        FlagFileError: it cannot be read, or holds what is no flag.
    """
    try:
        # As names of files come from the system: the same bytes will be looked for.
        text = os.fsdecode(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FlagFileError(f"{path} cannot be read as a file of flags ({error})") from error
    lines = [line.strip() for line in text.split("\n")]
    lines = [line for line in lines if line and not line.startswith(("#", "//"))]
    for line in lines:
        if not _FLAG.fullmatch(line):
            shown = line if len(line) <= 40 else f"{line[:40]}..."
            raise FlagFileError(
                f"{path} is no file of flags, --name=value on a line each. It holds {shown!r}"
            )
    return lines
