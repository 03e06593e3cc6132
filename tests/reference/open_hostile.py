"""Opens weights files under a memory limit, each for at most some seconds.

    python tests/reference/open_hostile.py FOLDER

Prints JSON: {name: [what came of it, seconds, MiB by which the process has grown so far]}.
"""

import json
import resource
import signal
import sys
import time
from pathlib import Path

from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.files import open_weights
from tests.reference.fuzzing import limit_memory

MAX_SECONDS = 20  # of any of them; then the process ends


def most_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main(folder):
    limit_memory()
    outcomes, before = {}, most_mib()
    for path in sorted(folder.iterdir()):
        started = time.perf_counter()
        signal.alarm(MAX_SECONDS)
        try:
            open_weights(path)
            outcome = "opened"
        except WeightsError as error:
            outcome = str(error).removeprefix(str(path))
        signal.alarm(0)
        seconds = time.perf_counter() - started
        outcomes[path.stem] = [outcome, round(seconds, 2), most_mib() - before]
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
