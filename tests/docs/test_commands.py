"""The commands that the pages and the programs' own docstrings show can be given so."""

import ast
import re
import shlex

import pytest

from tests.docs.pages import PAGES, blocks, commands
from tests.reference.processes import ROOT, run_python

pytestmark = pytest.mark.one_backend

PROGRAMS = [*(ROOT / "recipes").rglob("*.py"), *(ROOT / "tools").glob("*.py")]
# Parses the flags as the program itself does, and ends there.
PARSE = """
import importlib, sys
from absl import flags
from recipes import flag_files
importlib.import_module(sys.argv[1])
flags.FLAGS(flag_files.expand(sys.argv[1:]))
"""


def shown_commands():
    """{command: where it is shown}"""
    found = {}
    for name, text in PAGES.items():
        for _, block in blocks(text, ""):
            found |= dict.fromkeys(commands(block), name)
    for path in PROGRAMS:
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        found |= dict.fromkeys(commands(docstring), str(path.relative_to(ROOT)))
    return found


@pytest.mark.parametrize(
    "command", [command for command in shown_commands() if command.startswith("python")]
)
def test_the_flags_of_a_command_are_the_program_s(command):
    words = shlex.split(command, comments=True)[2:]  # without "python -m"
    parsed = run_python("-c", PARSE, *words)
    assert parsed.returncode == 0, f"{shown_commands()[command]}: {parsed.stderr}"


def test_make_has_the_targets_that_are_shown():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.M))
    targets |= {"test-tensorflow", "test-jax", "test-torch"}
    shown = {shlex.split(line)[1] for line in shown_commands() if line.startswith("make ")}
    assert {"demo", "test"} <= shown
    assert shown <= targets


def test_a_flag_that_does_not_exist_is_found():
    parsed = run_python("-c", PARSE, "recipes.finetune", "--output_dir=runs", "--learning_rat=1")
    assert parsed.returncode != 0
    assert "learning_rat" in parsed.stderr
