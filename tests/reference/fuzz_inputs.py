r"""Opens damaged inputs, in a process of its own: a crash ends it and no more.

    python -m tests.reference.fuzz_inputs FOLDER SEED FILES_PER_KIND [KIND ...]

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


def main(folder, seed, num_files, kinds):
    # Decoders write what they think of a file to standard error.
    subjects = {kind: SUBJECTS[kind] for kind in kinds or SUBJECTS}
    fuzz_all(subjects, folder, seed, num_files, is_silent=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
