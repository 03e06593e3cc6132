"""What all programs have in common: one command for them, their flags' defaults, tracebacks."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from recipes.__main__ import PROGRAMS

pytestmark = pytest.mark.one_backend
ROOT = Path(__file__).parents[2]


def run(*words):
    return subprocess.run(
        [sys.executable, "-m", "recipes", *words], cwd=ROOT, capture_output=True, text=True
    )


def test_one_command_lists_the_programs_and_starts_each():
    said = run("--help")
    assert said.returncode == 0
    assert all(re.search(rf"^  {name} ", said.stdout, re.MULTILINE) for name in PROGRAMS)
    started = run("finetune", "--output_dir=x", "--data_dir=/nowhere")
    assert started.returncode == 2
    assert started.stderr == (
        "finetune: error: The data folder /nowhere does not exist. Check the path.\n"
    )


def test_a_program_that_there_is_not():
    outcome = run("fintune")
    assert outcome.returncode == 2
    assert outcome.stderr.startswith("There is no program 'fintune'.\n")
    assert "  finetune " in outcome.stderr


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_is_there_and_every_flag_says_its_default(run_recipe, name):
    said = run_recipe(name, "--help").out
    own = said.partition("\nflags:\n")[2].partition("Try --helpfull")[0]
    flags = re.findall(r"^  --.*?(?=^  --|\Z)", own, re.MULTILINE | re.DOTALL)
    assert len(flags) > 3
    for flag in flags:
        text = " ".join(flag.split())
        assert re.search(r"\(default: |[Dd]efault|Required\.", text), text


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_program_imports_keras_before_it_has_hidden_what_backends_log(name):
    lines = f"import sys, recipes.{name}; assert 'keras' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("'x'", ()),
        ("'x', flush=True", ()),
        ("'x' * 100_000", ()),
        ("'x'", ("--help",)),
        ("'x' * 100_000, file=sys.stderr", ()),
    ],
)
def test_a_program_whose_output_nobody_reads_any_more_ends_quietly(said, words):
    lines = f"import sys; from recipes import program; program.run(lambda: print({said}))"
    both = subprocess.STDOUT if "stderr" in said else subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", lines, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=both
    ) as program:
        program.stdout.close()  # as `| head -0`
        heard = b"" if program.stderr is None else program.stderr.read()
    assert (heard, program.returncode) == (b"", 141)


def test_a_traceback_is_shown_where_it_is_asked_for(run_recipe, tmp_path):
    words = (f"--output_dir={tmp_path / 'run'}", "--data_dir=/nowhere")
    assert "Traceback" not in run_recipe("pretrain", *words).err
    said = run_recipe("pretrain", *words, "--traceback").err
    assert "Traceback (most recent call last)" in said and "open_source" in said
    assert said.splitlines()[-1].startswith("pretrain: error: ")
