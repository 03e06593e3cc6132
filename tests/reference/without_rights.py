"""A training whose pictures and folders lose their rights while it runs.

    python tests/reference/without_rights.py FOLDER

The administrator may read and write all the same, so it gives that up first. Prints JSON:
{what was taken away: the error that the training ended with, or None}.
"""

import ctypes
import json
import os
import struct
import sys
from pathlib import Path

_CAPSET, _VERSION = {"x86_64": 126, "aarch64": 91}, 0x20080522


def give_up_privileges():
    """No capabilities are left to this process (Linux, by the system call `capset`)."""
    head = struct.pack("Ii", _VERSION, 0)
    number = _CAPSET[os.uname().machine]
    if ctypes.CDLL(None, use_errno=True).syscall(number, head, bytes(24)):
        raise OSError(ctypes.get_errno(), "capset")


def ended_with(training, pictures, folder, what, mode):
    """The error that a training ended with in which the mode of a path was changed."""
    batches = training.make_batches(pictures)
    try:
        training.fit(batches, folder, training.AtStep(2, lambda: os.chmod(what, mode)))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        os.chmod(what, 0o755)
    return None


def main(folder):
    from tests.runs import picture_training as training

    give_up_privileges()
    pictures = training.write_pictures(folder / "pictures")
    batches = training.make_batches(pictures)
    batches.epoch = 1
    path = Path(batches.names(training.STEPS - 1)[0])
    (folder / "new").mkdir(mode=0o555)
    run, new = folder / "run", folder / "new"
    told = {
        "picture": ended_with(training, pictures, folder / "picture", path, 0),
        "run": ended_with(training, pictures, run, run, 0o555),
        "run again": ended_with(training, pictures, run, run, 0o755),
        "new": ended_with(training, pictures, new, new, 0o755),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
