"""What reaches the terminal of a recipe: its own words, and whatever went wrong; each as a process.

The variable says what TensorFlow and XLA say of themselves by default.
"""

import signal

import keras
import numpy as np
import PIL.Image
import pytest

from tests.recipes.conftest import TINY
from tests.reference.processes import run_python

PROGRAM = """
import logging, os, signal, sys, warnings
from recipes import program

def main():
    os.write(2, b"I0000 what a library in C++ logs\\n")
    logging.getLogger("a_library").warning("what a library in Python logs")
    print("what the recipe says", file=sys.stderr)
    {end}

program.run(main)
"""
LOGS = ("I0000 what a library in C++ logs", "what a library in Python logs")
SAID = "what the recipe says\n"


def run_to(end, *words):
    """Runs a program that logs and then does `end`."""
    return run_python("-c", PROGRAM.format(end=end), *words)


@pytest.mark.one_backend
def test_what_libraries_log_is_hidden_and_what_the_recipe_says_is_not():
    done = run_to("pass")
    assert (done.returncode, done.stderr) == (0, SAID)
    done = run_to("raise ValueError('that file is damaged')")
    assert (done.returncode, done.stderr) == (2, f"{SAID}-c: error: that file is damaged\n")


@pytest.mark.one_backend
def test_a_flag_shows_what_libraries_log():
    done = run_to("pass", "--backend_logs")
    assert done.returncode == 0 and SAID in done.stderr
    assert all(log in done.stderr for log in LOGS)


@pytest.mark.one_backend
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on Windows")
def test_a_program_that_is_killed_does_not_blame_what_is_no_error():
    done = run_to(
        'os.write(2, b"W1 profiler.py:1] Failed to load jax profiler: No module\\n"); '
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert done.returncode == -signal.SIGKILL and done.stderr.startswith(SAID)
    assert "crashed, or was killed; what it saved before is intact" in done.stderr
    assert LOGS[0] in done.stderr and "jax" not in done.stderr


@pytest.mark.one_backend
def test_a_traceback_is_shown_whole_and_so_are_warnings_and_logged_errors():
    done = run_to("raise RuntimeError('of our own')")
    assert done.returncode == 1 and done.stderr.startswith(f"{SAID}Traceback (most recent call")
    assert done.stderr.endswith("\nRuntimeError: of our own\n")
    assert not any(log in done.stderr for log in LOGS)
    done = run_to("warnings.warn('of our own')")
    assert done.returncode == 0 and "UserWarning: of our own" in done.stderr
    done = run_to("logging.getLogger('a_library').error('that failed')")
    assert "that failed" in done.stderr and not any(log in done.stderr for log in LOGS)


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["SIGABRT", "SIGSEGV", "SIGKILL"])
def test_after_a_crash_what_was_logged_last_is_shown(name):
    done = run_to(f"os.write(2, b'F0000 Check failed'); os.kill(os.getpid(), signal.{name})")
    assert done.returncode == -getattr(signal, name)
    assert done.stderr.startswith(SAID)
    assert LOGS[0] in done.stderr and "F0000 Check failed" in done.stderr


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_that_tells_it_to_end_is_no_crash(name):
    done = run_to(f"os.kill(os.getpid(), signal.{name}); import time; time.sleep(60)")
    assert done.returncode == -getattr(signal, name)
    assert done.stderr.startswith(f"{SAID}The program was stopped by a signal, ")
    assert done.stderr.count("\n") == 2 and name in done.stderr


@pytest.mark.one_backend
def test_a_signal_that_is_seen_to_does_not_end_it():
    ignored = "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.kill(os.getpid(), signal.SIGTERM)"
    assert run_to(ignored).stderr == SAID
    done = run_to(f"{ignored}; os.abort()")
    assert LOGS[0] in done.stderr and "stopped by a signal" not in done.stderr


@pytest.mark.one_backend
def test_after_a_crash_no_more_than_the_end_is_shown():
    done = run_to("os.write(2, b'x' * 50_000); os.write(2, b'the end'); os.abort()")
    assert "xxxthe end" in done.stderr
    assert 10_000 < len(done.stderr) < 30_000 and LOGS[0] not in done.stderr


@pytest.mark.one_backend
def test_a_program_that_only_starts_others_hides_nothing_of_theirs():
    program = PROGRAM.replace("run(main)", "run(main, only_starts_programs=True)")
    done = run_python("-c", program.format(end="os.system('echo of another >&2')"))
    assert done.returncode == 0 and "of another" in done.stderr and LOGS[0] in done.stderr


@pytest.fixture
def photographs(tmp_path, rng):
    """A folder of small pictures in two classes."""
    folder = tmp_path / "photographs"
    for split in ("train", "test"):
        for name in ("boot", "coat"):
            (folder / split / name).mkdir(parents=True)
            for index in range(6):
                pixels = rng.integers(0, 256, (20, 30, 3), dtype="uint8")
                PIL.Image.fromarray(pixels).save(folder / split / name / f"{index}.png")
    return folder


def run(recipe, photographs, *words, folder="run"):
    """Runs a recipe that trains on the photographs."""
    sizes = (word for word in TINY if recipe == "pretrain" or "decoder" not in word)
    settings = (*sizes, "--image_size=16x24", "--batch_size=4", f"--data_dir={photographs}")
    output = f"--output_dir={photographs.parent / folder}"
    variables = {"TF_CPP_MIN_LOG_LEVEL": "0"}
    return run_python("-m", f"recipes.{recipe}", *settings, output, *words, **variables)


def others(text, recipe="finetune"):
    """The lines that are not a recipe's own, of its announcement, its progress or its error."""
    known = (
        "backend",
        "images",
        "validation",
        "start",
        "model",
        "masks",
        "training",
        "fine-tuning",
        "pretrain",
    )
    return [line for line in text.splitlines() if not line.startswith((*known, f"{recipe}: error"))]


@pytest.mark.one_backend
def test_a_picture_that_cannot_be_read_gives_its_line_and_nothing_else(photographs):
    broken = photographs / "train" / "coat" / "3.png"
    broken.write_bytes(b"words")
    done = run("finetune", photographs, "--epochs=1")
    assert done.returncode == 2 and others(done.stderr) == []
    errors = [line for line in done.stderr.splitlines() if line.startswith("finetune: error")]
    assert errors == done.stderr.splitlines()[-1:] and str(broken) in errors[0]


if keras.backend.backend() != "jax":  # TensorFlow and PyTorch once did

    def test_after_a_loss_that_is_not_finite_nobody_complains_of_the_end(photographs):
        words = ("--learning_rate=1e30", "--warmup_epochs=0", "--epochs=40", "--backend_logs")
        done = run("pretrain", photographs, *words)
        assert done.returncode == 2
        assert "GeneratorDataset" not in done.stderr
        assert "cannot schedule new futures" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith("pretrain: error: The loss is ")
        if keras.backend.backend() == "tensorflow":
            assert others(done.stderr, "pretrain"), "--backend_logs showed nothing"


if keras.backend.backend() == "jax":

    def test_jax_keeps_compiled_programs_for_the_next_run(photographs, tmp_path):
        cache = tmp_path / "cache"
        kept = []
        for number in range(2):
            words = ("--epochs=1", f"--jax_cache_dir={cache}")
            done = run("finetune", photographs, *words, folder=f"run{number}")
            assert done.returncode == 0 and others(done.stderr) == []
            kept.append({path.name for path in cache.glob("*-cache")})
        assert any("train" in name for name in kept[0]), kept
        assert kept[1] == kept[0]
        assert np.isfinite(float(done.stdout.split("test loss")[1].split()[0]))
