"""Programs that take pages of 2 MB; each in a process of its own, since its start decides."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recipes import huge_pages

pytestmark = pytest.mark.one_backend

PROGRAM = """if True:
    import json, os, resource, sys
    from recipes import huge_pages
    started = os.environ.get("STARTED")  # by the first process, for the second to see
    os.environ["STARTED"] = str(os.getpid())
    huge_pages.start_again_with_them()
    def faults_of_taking_memory():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(5):
            array = bytearray(64 << 20)
            array[::4096] = b"1" * len(array[::4096])
            del array
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    print(json.dumps({
        "again": started == str(os.getpid()),
        "words": sys.argv[1:],
        "variable": os.environ.get(huge_pages.VARIABLE),
        "faults": faults_of_taking_memory(),
    }))
"""


@pytest.fixture
def start(tmp_path):
    """Runs the program as a module or as a file: what it printed."""
    package = tmp_path / "recipes"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "huge_pages.py").write_bytes(Path(huge_pages.__file__).read_bytes())
    (package / "program_under_test.py").write_text(PROGRAM)

    def run(*before, **variables):
        environment = {
            name: text for name, text in os.environ.items() if name != huge_pages.VARIABLE
        }
        words = ["--name=two words", "--flag"]
        done = subprocess.run(
            [sys.executable, *(before or ("-m", "recipes.program_under_test")), *words],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": str(tmp_path), **variables},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        printed = json.loads(done.stdout)
        assert printed.pop("words") == words
        return printed

    return run


def test_a_program_starts_again_where_the_system_gives_huge_pages_on_request(start):
    printed = start()
    assert printed["again"] == huge_pages._is_of_use()
    if printed["again"]:
        assert printed["variable"] == huge_pages.VALUE
        # 5 times 64 MB are 160 pages of 2 MB, and 81,920 of 4 kB.
        assert printed["faults"] < start(**{huge_pages.VARIABLE: ""})["faults"] / 5


def test_what_the_user_set_stays(start):
    printed = start(**{huge_pages.VARIABLE: "glibc.malloc.perturb=0"})
    assert printed["variable"] == "glibc.malloc.perturb=0" and not printed["again"]


@pytest.mark.parametrize(
    "before",
    [
        ("recipes/program_under_test.py",),
        ("-c", "import runpy; runpy.run_module('recipes.program_under_test', None, '__main__')"),
        (
            *("-m", "trace", "--count", "--coverdir=counted", "--module"),
            "recipes.program_under_test",
        ),
    ],
)
def test_under_another_program_nothing_starts_again(start, before):
    assert not start(*before)["again"]


@pytest.mark.parametrize("missing", [AttributeError, OSError, ValueError])
def test_another_c_library_is_left_alone(monkeypatch, missing):
    def ask(name):
        raise missing("no such value")

    monkeypatch.setattr(os, "confstr", ask)
    assert not huge_pages._is_of_use()
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.31")
    assert not huge_pages._is_of_use()
