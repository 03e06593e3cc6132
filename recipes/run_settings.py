"""The values of a run: what its flags say, and what suits the run where they say nothing."""

import copy
import sys

from absl import flags

from . import flag_files

FLAGS = flags.FLAGS

# Those that change nothing in what a run computes.
FREE = {
    "output_dir",
    "workers",
    "json",
    "dry_run",
    "traceback",
    "backend_logs",
    "jax_cache_dir",
    "allow_changed_settings",
    "save_every",
    "keep_checkpoints",
    "keep_every",
    "reconstruct_every",
    "distribution",
}


class Settings:
    """Values by name, an attribute each, of the flags of this program. They never change."""

    def __init__(self, values, derived=()):
        vars(self)["_values"] = dict(values)
        vars(self)["_derived"] = frozenset(derived)  # names of values that follow from others

    def __getattr__(self, name):
        try:
            return vars(self)["_values"][name]
        except KeyError:
            raise AttributeError(f"There is no flag --{name} in this program") from None

    def __setattr__(self, name, value):
        raise AttributeError(f"Settings do not change; `replaced({name}=...)` gives others")

    def __contains__(self, name):
        return name in self._values

    def as_dict(self):
        """The values by name; what has none is None."""
        return dict(self._values)

    def replaced(self, **values):
        """Settings with some other values."""
        return Settings({**self._values, **values}, self._derived - set(values))

    def filled(self, defaults):
        """Settings with `defaults`, values by name, where there are none."""
        missing = {name: value for name, value in defaults.items() if self._values[name] is None}
        return self.replaced(**missing)

    def derived(self, values):
        """As `filled`, of values that follow from others: with other epochs they will be others."""
        missing = {name for name in values if self._values[name] is None}
        return Settings(self.filled(values)._values, self._derived | missing)

    def lines(self):
        """The flags and their values, as --flagfile reads them; without those that are derived."""
        lines = []
        for name, flag in _own_flags():
            if self._values[name] is not None and name not in self._derived:
                flag = copy.deepcopy(flag)
                flag.value = self._values[name]
                lines.append(flag.serialize())
        return "\n".join(line for line in lines if line) + "\n"


def from_flags():
    """The `Settings` that the flags say; None where one was not given and has no default."""
    return Settings({name: flag.value for name, flag in _own_flags()})


def from_file(path):
    """The values of a file of flags by name, a dict.

    Raises:
        flag_files.FlagFileError: it is no such file.
        ValueError: a value that its flag does not take.
    """
    values = {}
    for word in flag_files.expand([f"--flagfile={path}"]):
        flag, value = _parsed(word)
        try:
            values[flag.name] = flag.parser.parse(value)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: {word}: {error}") from error
    return values


def _parsed(word):
    name, _, value = word.lstrip("-").partition("=")
    if name not in FLAGS and name.startswith("no"):
        return FLAGS[name[2:]], "false"
    return FLAGS[name], value or ("true" if FLAGS[name].boolean else "")


def _own_flags():
    """Of the recipes, not of a library, sorted; absl names the main module by its path."""
    of_module = FLAGS.flags_by_module_dict()
    for module in sorted(of_module):
        if module.startswith(f"{__package__}.") or module == sys.argv[0]:
            yield from ((flag.name, flag) for flag in of_module[module])
