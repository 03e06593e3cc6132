"""Files of flags, as --flagfile names them: alike in every locale, or named if they are none."""

import itertools
import os
import re
from pathlib import Path

from absl import flags

# Settings that come with the recipes; --flagfile knows them by name.
SETTINGS = Path(__file__).parent / "settings"

_FLAG = re.compile(r"--?[A-Za-z]\w{0,60}(=.*)?", re.ASCII)
_HOME = re.compile(r"^(--?\w+=)(~)(?=/|$)")  # which a shell leaves as it is there
_MOST_BYTES, _MOST_FILES = 1 << 20, 100
# Flags that say one thing in two ways.
_ALTERNATIVES = (({"variant"}, {"depths", "widths"}), ({"learning_rate"}, {"base_learning_rate"}))


class FlagFileError(ValueError):
    """A file of flags that cannot be read, or holds something else."""


def expand(words):
    """The words of a command line, with those of each --flagfile in its place.

    As absl does it: a line is one flag, `--name=value`; what begins with # or // is a comment; a
    file may name another, from its own folder too. A flag given later counts: also where a file
    says, say, --variant and --widths come after it. A value that begins with ~/ begins with the
    user's home folder.

    Args:
        words: list of str.

    Raises:
        FlagFileError: naming the file.
    """
    given = list(_expanded(words, (), itertools.count(1)))
    for word, from_file in given:
        name = _name(word)
        if from_file and "=" not in word and name in flags.FLAGS and not flags.FLAGS[name].boolean:
            # absl would take the next word as its value, be it a flag or not.
            raise FlagFileError(f"--flagfile: a file has --{name} without a value")
    for one, other in (*_ALTERNATIVES, *(pair[::-1] for pair in _ALTERNATIVES)):
        last = max(
            (place for place, (word, _) in enumerate(given) if _name(word) in one), default=0
        )
        given = [
            (word, from_file)
            for place, (word, from_file) in enumerate(given)
            if not (place < last and from_file and _name(word) in other)
        ]
    return [_HOME.sub(_with_home, word) for word, _ in given]


def _with_home(found):
    return found[1] + os.path.expanduser(found[2])


def _expanded(words, opened, numbers):
    """Pairs of a word and whether it stood in a file; the files are numbered by `numbers`."""
    words = iter(words)
    for word in words:
        name, equals, path = word.partition("=")
        if name not in ("--flagfile", "-flagfile"):
            yield word, bool(opened)
        elif path := path if equals else next(words, ""):
            path = _find(path.strip(), opened)
            if os.path.realpath(path) in map(os.path.realpath, opened):
                raise FlagFileError(f"--flagfile: {path} names itself")
            if next(numbers) > _MOST_FILES:
                first = (*opened, path)[0]
                raise FlagFileError(f"--flagfile: {first} leads to more than {_MOST_FILES} files")
            yield from _expanded(lines_of(path), (*opened, path), numbers)


def _find(name, opened):
    path = Path(name).expanduser()
    own = SETTINGS / f"{name.removesuffix('.flags')}.flags"
    if opened and opened[-1].parent == SETTINGS:
        return own
    places = [path, *(opened[-1].parent / path for _ in opened[-1:]), own]
    found = next((place for place in places if place.is_file()), path)
    if not found.exists() and path.name == name:
        known = ", ".join(sorted(settings.stem for settings in SETTINGS.glob("*.flags")))
        raise FlagFileError(
            f"--flagfile={name}: there is no such file, nor are these settings of the recipes, "
            f"which are {known}"
        )
    return found


def _name(word):
    return word.lstrip("-").partition("=")[0]


def lines_of(path):
    """The flags in a file, a str each.

    Args:
        path: Path.

    Raises:
        FlagFileError: it cannot be read, or holds what is no flag.
    """
    try:
        # As names of files come from the system: the same bytes will be looked for.
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
        text = os.fsdecode(content)
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


def of_run(model):
    """The flags of the run that left a model, {name: text}; empty where there is no settings.flags.

    Args:
        model: path of the run's folder, of its model's, or of a file in it or in its checkpoints.

    Raises:
        FlagFileError: its settings.flags is none.
    """
    path = Path(model)
    folder = path if path.is_dir() else path.parent
    within = next((f for f in (folder, *folder.parents) if f.name == "checkpoints"), None)
    if folder.name == "model":
        within = folder
    folder = within.parent if within is not None else folder
    settings = folder / "settings.flags"
    if not settings.is_file():
        return {}
    parts = (line.lstrip("-").partition("=") for line in lines_of(settings))
    return {name: value for name, _, value in parts}
