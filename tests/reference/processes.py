"""Programs that tests start in a Python process of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_python(*words, **environment):
    """Runs Python with some arguments in the repository, and returns what came of it.

    Args:
        *words: the arguments.
        **environment: variables beside this process's own.

    Returns:
        `subprocess.CompletedProcess`, with text.
    """
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
