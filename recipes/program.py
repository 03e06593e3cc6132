"""Running a recipe: flags in, one line for an error, an exit status."""

import gc
import importlib.util
import json
import os
import re
import signal
import sys
import traceback
from pathlib import Path

from absl import app, flags

from . import compiled_programs, flag_files, huge_pages, processes, quiet_logs
from .printable import one_line, printable

EXIT_STATUS = 2
_SIGNAL_STATUS = 128  # and the number of the signal that ended a program, as a shell tells it
_UNREAD_STATUS = _SIGNAL_STATUS + 13  # of SIGPIPE
SHARED_FLAGS = ("backend_logs", "jax_cache_dir", "traceback")  # of every program
_NUM_SHOWN = 8  # of a list
# What absl says of a flag that is required.
_MISSING = re.compile(r"flag --(\w+)=None: Flag --\1 must have a value other than None")

flags.DEFINE_bool("traceback", False, "Show where in the program an error arose, too.")

BACKENDS = ("tensorflow", "jax", "torch")
_EXTRAS = {
    **{name: name for name in BACKENDS},
    "PIL": "recipes",
    "rich": "recipes",
    "matplotlib": "recipes",
    "jinja2": "recipes",
    "grain": "recipes",
    "sklearn": "probe",
    "tensorboardX": "recipes",
    "array_record": "array_record",
    "ai_edge_litert": "litert",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "gradio": "web",
    "keras_cv": "keras-cv",
    "keras_hub": "keras-hub",
    "tf_keras": "tf-keras",
}


def run(main, only_starts_programs=False):
    """Parses the flags and runs `main()`; what a user can mend is printed as one line.

    Args:
        main: function without arguments.
        only_starts_programs: bool, whether the work is done by other programs, each of which sees
            to its own logs.
    """
    # A name that the locale has no letters for must not end the program; standard error does so.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    for name in SHARED_FLAGS:  # else --help would not list them
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
    for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0]):
        if any("must have a value" in validator.message for validator in flag.validators):
            flag.help += " Required."
    try:
        try:
            app.run(lambda _: _guarded(main, only_starts_programs), flags_parser=_parse)
        except SystemExit:  # with which it always ends
            print(end="", flush=True)
            raise
    except BrokenPipeError:
        _end_unread()


def _end_unread():
    """Ends quietly: who read the output has gone, as `| head` does."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for file in (sys.stdout, sys.stderr):  # or what they still hold would be complained of
        os.dup2(nowhere, file.fileno())
    sys.exit(_UNREAD_STATUS)


def _parse(arguments):
    # Runs of the same command must differ in their flags alone: a word that is no flag is a slip.
    try:
        rest = flags.FLAGS(flag_files.expand(arguments))[1:]
    except (flags.Error, flag_files.FlagFileError) as error:
        told = _MISSING.sub(r"--\1 must be given", one_line(error))
        _fail(f"{told.rstrip('.')}. See --help.")
    if rest:
        _fail(f"not a flag: {' '.join(rest)!r}. Flags are written --name=value; see --help.")
    return arguments


def _guarded(main, only_starts_programs):
    huge_pages.start_again_with_them()
    if not only_starts_programs:
        quiet_logs.hide()
    wrong = _what_went_wrong(main)
    if wrong is not None:
        # With the error goes what it held on to, as TensorFlow's reading of images: it would
        # complain of a Python that has ended.
        gc.collect()
        _fail(*wrong)


def _what_went_wrong(main):
    """Runs `main()`: None, or what to tell the user, and the exit status."""
    try:
        compiled_programs.keep()
        with processes.together():
            main()
    except BrokenPipeError:
        raise
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        _show_traceback()
        if processes.is_lost(error):
            _leave_at_once(error)
        return one_line(error) or "there is no memory left", EXIT_STATUS
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        _show_traceback()
        return _how_it_is_missing(error.name), EXIT_STATUS
    except KeyboardInterrupt as error:
        message = str(error) or "stopped by the user; what was saved before is intact."
        return message, _SIGNAL_STATUS + getattr(error, "number", signal.SIGINT)
    return None


def _leave_at_once(error):
    """Ends a process that has lost another: JAX would wait for that one, and then abort."""
    print(f"{Path(sys.argv[0]).stem}: error: {printable(one_line(error))}", file=sys.stderr)
    for file in (sys.stdout, sys.stderr):
        file.flush()
    quiet_logs.end()
    os._exit(EXIT_STATUS)


def _show_traceback():
    if flags.FLAGS.traceback:
        traceback.print_exc()


def how_to_install(package):
    """The command that installs a package of `_EXTRAS`."""
    extra = _EXTRAS[package]
    if __package__ == "recipes":
        return f"pip install -e '.[{extra}]' in the clone"
    return f"pip install 'keras-convnextv2[{extra}]'"


def _how_it_is_missing(package):
    install = how_to_install(package)
    if package not in BACKENDS or "keras" in sys.modules:  # which has its backend
        return f"the package {package} is not installed: {install}."
    others = [name for name in BACKENDS if name != package and importlib.util.find_spec(name)]
    way_out = f", or set KERAS_BACKEND={' or '.join(others)}, installed here" if others else ""
    return (
        f"Keras is set to the backend {package} (by KERAS_BACKEND, its configuration file or "
        f"default), which is not installed: {install}{way_out}."
    )


def _fail(message, status=EXIT_STATUS):
    kind = "error: " if status == EXIT_STATUS else ""  # a stop that was asked for is none
    print(f"{Path(sys.argv[0]).stem}: {kind}{printable(message)}", file=sys.stderr)
    sys.exit(status)


def print_result(result, as_json):
    """Prints a flat dict: one JSON object on standard output, or a line a value."""
    if not processes.is_writer():
        return
    if as_json:
        print(json.dumps(result))
    else:
        names = [printable(name).replace("_", " ") for name in result]
        width = max(map(len, names), default=0)
        for name, value in zip(names, result.values(), strict=True):
            print(f"{name:<{width}}  {printable(_shown(value))}")


def _shown(value):
    if isinstance(value, float):
        return f"{value:.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.2g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    if isinstance(value, list):
        more = f" and {len(value) - _NUM_SHOWN} more" if len(value) > _NUM_SHOWN else ""
        return ", ".join(map(str, value[:_NUM_SHOWN])) + more
    return value
