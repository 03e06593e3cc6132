"""The commands that the pages and the programs' own docstrings show can be given so."""

import ast
import json
import re
import shlex

import pytest

from tests.docs.pages import PAGES, blocks, commands
from tests.reference.processes import ROOT, run_python

pytestmark = pytest.mark.one_backend

PROGRAMS = [*(ROOT / "recipes").rglob("*.py"), *(ROOT / "tools").glob("*.py")]
# Parses a program's commands, each by itself and as the program does, and ends there.
PARSE = """
import copy, importlib, json, sys
from absl import flags
from recipes import flag_files
importlib.import_module(sys.argv[1])
for command, words in json.loads(sys.argv[2]).items():
    try:
        copy.deepcopy(flags.FLAGS)(flag_files.expand([sys.argv[1], *words]))
    except flags.Error as error:
        print(f"{command}: {error}", file=sys.stderr)
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


def shown_of_programs():
    """{program: {command: its words after the program}}"""
    found = {}
    for command in shown_commands():
        if command.startswith("python"):
            program, *words = shlex.split(command, comments=True)[2:]  # without "python -m"
            found.setdefault(program, {})[command] = words
    return found


def complaints(program, commands):
    """What a program says of the flags of some commands."""
    parsed = run_python("-c", PARSE, program, json.dumps(commands))
    assert parsed.returncode == 0, parsed.stderr
    return parsed.stderr


@pytest.mark.parametrize(("program", "commands"), shown_of_programs().items())
def test_the_flags_of_its_commands_are_the_program_s(program, commands):
    assert complaints(program, commands) == "", [shown_commands()[each] for each in commands]


def test_make_has_the_targets_that_are_shown():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.M))
    targets |= {"test-tensorflow", "test-jax", "test-torch"}
    shown = {shlex.split(line)[1] for line in shown_commands() if line.startswith("make ")}
    assert {"demo", "test"} <= shown
    assert shown <= targets


def test_a_flag_that_does_not_exist_is_found():
    commands = {
        "wrong": ["--output_dir=runs", "--learning_rat=1"],
        "no value": ["--output_dir=runs", "--epochs=many"],
        "right": ["--output_dir=runs"],
        "not given": [],  # a value that stayed from the command before would hide it
    }
    said = complaints("recipes.finetune", commands)
    assert "wrong: " in said and "learning_rat" in said
    assert "no value: " in said and "not given: " in said
    assert "right: " not in said
