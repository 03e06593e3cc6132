"""Each in a process of its own, since the setting is a process's."""

import ctypes
import json
import subprocess
import sys

import pytest

from keras_convnextv2.training import memory

PROGRAM = """if True:
    import json, resource, runpy, sys
    kept = None
    if len(sys.argv) > 1:
        kept = runpy.run_path(sys.argv[1])["keep_freed_memory"]()
    def take_and_free():
        for _ in range(5):
            array = bytearray(64 << 20)
            array[::4096] = b"1" * len(array[::4096])
            del array
    faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    take_and_free()
    before = faults()
    take_and_free()
    print(json.dumps([kept, faults() - before]))
"""


def run(*words):
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_memory_that_was_freed_is_taken_again():
    """The system need not give, and clear, the pages of 64 MB again and again."""
    _, faults = run()
    kept, faults_when_kept = run(memory.__file__)
    assert kept == hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
    if kept:
        assert faults > 5 * 32  # pages of 2 MB at the most
        assert faults_when_kept < faults / 5


@pytest.mark.parametrize("missing", [AttributeError, OSError, TypeError])
def test_another_c_library_is_left_alone(monkeypatch, missing):
    def load(name):
        raise missing("no mallopt")

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert memory.keep_freed_memory() is False
