"""Programs that run in a Python process of their own."""

import os
import subprocess
import sys

from keras_convnextv2.export.errors import ExportError

_LAST_WORDS = 2000  # characters


def run_python(words, problem, **environment):
    """Runs Python with some arguments, without input.

    Args:
        words: list of str, the arguments.
        problem: str, what an error says before the process's last words.
        **environment: variables beside this process's own.

    Returns:
        str, what it printed.

    Raises:
        ExportError: the process failed.
    """
    finished = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if finished.returncode != 0:
        said = finished.stderr.strip()[-_LAST_WORDS:]
        raise ExportError(f"{problem} (status {finished.returncode}): {said}")
    return finished.stdout
