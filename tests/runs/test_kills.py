"""A training that is killed; docs/runs.md has the report of many more kills."""

import json

import pytest

from tests.reference.processes import run_python

pytestmark = pytest.mark.one_backend


def test_a_training_that_was_killed_ends_as_one_that_was_not(tmp_path):
    words = ("-m", "tests.reference.kill_training", f"--folder={tmp_path / 'kills'}", "--kills=4")
    outcome = run_python(*words, OMP_NUM_THREADS="1")
    assert outcome.returncode == 0, outcome.stderr
    counted = json.loads(outcome.stdout.splitlines()[-1])
    assert counted["kills"] == 4 and counted["ended equal to the bit"]
