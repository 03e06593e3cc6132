"""Hundreds of damaged files of each kind: each is loaded or refused, and nothing else happens."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reference.small_files import KINDS, write_small_files

pytestmark = [pytest.mark.slow, pytest.mark.one_backend]
ROOT = Path(__file__).parents[2]
SEED = "2026-11-25"
FILES_PER_KIND = 600


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """{kind: [loaded, refused, seconds]} of two processes that share the kinds."""
    folder = tmp_path_factory.mktemp("fuzz")
    write_small_files(folder)
    processes = {
        kinds: subprocess.Popen(
            [sys.executable, "tests/reference/fuzz_weights.py"]
            + [str(folder), SEED, str(FILES_PER_KIND), *kinds],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for kinds in (("safetensors", "hdf5"), ("pytorch", "pytorch_legacy", "keras"))
    }
    counts = {}
    for kinds, process in processes.items():
        output, said = process.communicate()
        where = f"{' or '.join(kinds)}; the file is in {folder}"
        assert process.returncode == 0, f"died of {process.returncode} at {where}: {said[-3000:]}"
        result = json.loads(output)
        assert result["failures"] == [], f"at {where}"
        counts |= result["counts"]
    print(json.dumps(counts))
    return counts


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_loaded_or_refused(kind, results):
    loaded, refused, _ = results[kind]
    assert loaded + refused == FILES_PER_KIND
    assert loaded > FILES_PER_KIND / 500  # bits of a number or of what is not read are other bits
    assert refused > FILES_PER_KIND / 2
