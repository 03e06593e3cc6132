r"""Opens damaged inputs, in a process of its own: a crash ends it and no more.

    python -m tests.reference.fuzz_inputs FOLDER SEED KIND=FILES [KIND=FILES ...]

Each file ends in success or the error that is documented; what else happens is reported, with the
file kept in FOLDER. Prints JSON: {"counts": {kind: [taken, refused, seconds]}, "failures": [...]}.
"""

import sys
from pathlib import Path

from tests.reference import (
    hostile_checkpoints,
    hostile_pictures,
    hostile_settings,
    hostile_tables,
)
from tests.reference.fuzzing import fuzz_all

SUBJECTS = {
    **hostile_pictures.SUBJECTS,
    **hostile_tables.SUBJECTS,
    **hostile_settings.SUBJECTS,
    **hostile_checkpoints.SUBJECTS,
}


def main(folder, seed, *words):
    pairs = (word.split("=") for word in words)
    # Decoders write what they think of a file to standard error.
    fuzz_all({kind: (SUBJECTS[kind], int(number)) for kind, number in pairs}, folder, seed, False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
