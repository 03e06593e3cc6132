"""Virtual environments of a part of what is installed here, made of links within seconds."""

import importlib.metadata
import pathlib
import subprocess
import venv

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def make(folder, requirements):
    """A new virtual environment that has what is asked for, and what that asks for in turn.

    It holds links to this environment's own files, so no release is chosen and nothing copied.

    Args:
        folder: path of the new environment.
        requirements: list of str, as `keras>=3.14`.

    Returns:
        The path of its Python.

    Raises:
        ValueError: one of them is not installed here, or in another version.
    """
    folder = pathlib.Path(folder)
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    _link(closure(requirements), pathlib.Path(packages.stdout.strip()))
    return python


def closure(requirements):
    """The installed distributions that requirements ask for, directly or not, by name."""
    found, seen = {}, set()
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in ["", *requirement.extras]:
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            try:
                found[name] = importlib.metadata.distribution(name)
            except importlib.metadata.PackageNotFoundError:
                raise ValueError(f"{requirement} is asked for and not installed here.") from None
            waiting += [(Requirement(text), wanted) for text in found[name].requires or []]
        if not requirement.specifier.contains(found[name].version, prereleases=True):
            raise ValueError(f"{requirement} is asked for, {found[name].version} is installed.")
    return found


def _link(distributions, packages):
    """Links what distributions have installed among importable packages into another folder."""
    of_others = {
        path.parts[0]
        for distribution in importlib.metadata.distributions()
        if canonicalize_name(distribution.name) not in distributions
        for path in distribution.files or []
    }
    for distribution in distributions.values():
        for path in distribution.files:
            if path.parts[0] == "..":  # a program, a page of a manual
                continue
            # A folder as a whole, with what Python has compiled of it, where it is of no other.
            part = path if path.parts[0] in of_others else pathlib.PurePath(path.parts[0])
            target = packages / part
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(distribution.locate_file(part))
