"""Keeps the logs of backends and other libraries away from the terminal, unless --backend_logs.

What is written in C++ (TensorFlow, XLA, LiteRT, ONNX Runtime) writes to the file descriptor of
standard error, and not all of it can be told to be quiet: neither absl's log nor LiteRT reads a
setting. So that descriptor leads elsewhere, and Python's `sys.stderr` keeps the terminal: what
recipes say, warnings, errors and tracebacks come through as before. If the program crashes, by an
abort or a signal, what was written last is shown after all; not if it is told to end by a signal.
"""

import atexit
import faulthandler
import os
import signal
import subprocess
import sys

from absl import flags, logging

from . import last_words

FLAGS = flags.FLAGS

_STANDARD_ERROR = 2  # its file descriptor
_keepers = []  # the process that keeps the logs, which must not be collected before

flags.DEFINE_bool(
    "backend_logs",
    False,
    "Show what TensorFlow, JAX, XLA, LiteRT and other libraries log.",
)


def hide():
    """From now on, hides what others log; call it before a backend is imported.

    Does nothing with --backend_logs, and where `sys.stderr` is not the process's standard error
    (in a notebook or a test), but to ask TensorFlow and XLA for less.
    """
    if FLAGS.backend_logs:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if not _is_standard_error(sys.stderr):
        return
    terminal = os.dup(_STANDARD_ERROR)
    of_signals = os.pipe() if hasattr(faulthandler, "register") else ()  # not on Windows
    keeper = subprocess.Popen(
        [sys.executable, "-I", "-S", last_words.__file__, *map(str, of_signals[:1])],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # or who reads this program's output would wait for it
        pass_fds=of_signals[:1],
    )
    if of_signals:
        os.close(of_signals[0])
        _note_signals(of_signals[1])
    os.dup2(keeper.stdin.fileno(), _STANDARD_ERROR)
    keeper.stdin.close()
    # Python's loggers keep the standard error of before, through absl's handler; but for errors.
    logging.set_stderrthreshold("error")
    encoding, errors = sys.stderr.encoding, sys.stderr.errors
    sys.stderr = open(terminal, "w", buffering=1, encoding=encoding, errors=errors)  # noqa: SIM115
    sys.__stderr__ = sys.stderr
    _keepers.append(keeper)
    atexit.register(end)


def _note_signals(pipe):
    """Lets the signals that end a program write into a pipe before they do."""
    for number in last_words.SIGNALS:
        if signal.getsignal(number) == signal.SIG_DFL:  # and not ignored, as by nohup
            # Code in C that is there already: a handler in Python waits for the end of a step.
            faulthandler.register(number, pipe, all_threads=False, chain=True)


def _is_standard_error(file):
    try:
        return file.fileno() == _STANDARD_ERROR
    except (AttributeError, OSError):  # None, or no file
        return False


def end():
    """Says that the program ends as it was to: nothing of the logs is shown."""
    if _keepers:
        os.write(_STANDARD_ERROR, last_words.MARK)
